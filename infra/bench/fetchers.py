"""Fetch one list, as a process of its own: `fetchers.py img2dataset|stage|on_ray LIST OUT PORT`.

LIST is a folder of pairs. Each is called as its users call it on a machine of two cores; the list is the same.
"""

import os
import sys
from pathlib import Path

SHARD = 250  # rows
CORES = 2


def img2dataset(pairs: Path, out: Path) -> None:
    """Its fastest local setting: a process for each core, no hashes, no EXIF, no opt-outs, shards enough for both."""
    from img2dataset import download

    download(
        url_list=str(pairs),
        input_format="parquet",
        url_col="url",
        caption_col="caption",
        output_folder=str(out),
        output_format="webdataset",
        image_size=256,
        resize_mode="keep_ratio",
        resize_only_if_bigger=True,
        encode_quality=95,
        processes_count=CORES,
        thread_count=32,
        number_sample_per_shard=SHARD,
        compute_hash=None,
        extract_exif=False,
        disallowed_header_directives=[],
        enable_wandb=False,
    )


def stage(pairs: Path, out: Path, port: int, **further: int | None) -> None:
    """The download stage as anyone may call it: with hashes, a ledger and opt-outs."""
    from jobs import download
    from vlp_core.tracker import Silent
    from vlp_core.web.settings import Fetch

    own = (f"127.0.0.1:{port}",)
    fetch = Fetch(allow_private=own, per_host=64, per_host_rate=0.0, threads=CORES, **({"workers": 0} | further))
    download.run(pairs=pairs, fetch=fetch, out=out, tracker=Silent())


def on_ray(pairs: Path, out: Path, port: int) -> None:
    """The same as pipelines run it, on a private Ray, whose start and memory count."""
    import ray

    from pipelines.workflow.cluster import PRIVATE_OBJECT_STORE_BYTES

    ray.init(
        address="local",
        num_cpus=CORES,
        include_dashboard=False,
        logging_level="ERROR",
        object_store_memory=PRIVATE_OBJECT_STORE_BYTES,
    )
    stage(pairs, out, port, workers=None)


if __name__ == "__main__":
    what, pairs, out, port = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    if what == "img2dataset":
        img2dataset(Path(pairs), Path(out))
    else:
        {"stage": stage, "on_ray": on_ray}[what](Path(pairs), Path(out), int(port))
