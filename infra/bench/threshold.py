#!/usr/bin/env python
"""From a changed threshold to the end of the first training step, through the pipeline itself.

    infra/bench/curate.py --folder /tmp/curate --rows 1000000 --keep
    infra/bench/threshold.py --rows-at /tmp/curate/1000000 --root /tmp/curate/runs --clip 0.25
    time infra/bench/threshold.py --rows-at /tmp/curate/1000000 --root /tmp/curate/runs --clip 0.26

What no threshold changes (rows, hashes, measures, scores, copies, matches) is linked from where `curate.py` left it;
the rest is the pipeline's own: Ray, records, MLflow, and Ray Train with a tiny CLIP, which takes one step.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from linked import linked

from jobs import dedup, filter, select, shard, train
from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.step import Step, step
from vlp_core.curation.settings import Filter, Select
from vlp_core.data.settings import Shard
from vlp_core.recipes import clip


@dataclass(frozen=True, kw_only=True)
class Threshold:
    rows_at: Path
    """What `curate.py --keep` left."""
    clip: float = 0.25


def build(config: Threshold) -> list[Step]:
    def there(name: str) -> Step:
        return step(name, linked, folder=str(config.rows_at.absolute() / name))

    images, hashes, scores = there("images"), there("hashes"), there("scores")
    rules = ("side>=200", "ratio<=3", "words>2", "chars>5", f"clip>={config.clip}")
    judged = {"images": images, "columns": (there("measure"), scores)}
    verdicts = step("filter", filter.run, **judged, filter=Filter(rules=rules))
    copies = step("dedup", dedup.run, images=images, near=there("near"), verdicts=verdicts, scores=(scores,))
    found = {"verdicts": verdicts, "copies": copies, "hashes": hashes, "evaluations": (there("matches"),)}
    selection = step("select", select.run, **found, select=Select())
    data = {"images": images, "selection": selection}
    shards = step("shard", shard.run, **data, shard=Shard(sparse_below=0.1))
    settings = replace(clip.TINY.train, steps=1)
    recipe = clip.TINY.system
    return [step("train", train.run, **data, shards=shards, recipe=recipe, train=settings, data=clip.TINY.data)]


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    raise SystemExit(run_pipeline("threshold", Threshold, build))
