import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.vlp_core.data.folders import jpeg, row, write_images, write_selection, write_tar
from vlp_core.data.index import index_rows
from vlp_core.data.samples import Samples, text_id
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of


def contents(samples: Samples) -> dict[str, bytes]:
    return {samples.uid(i): samples.image_bytes(i) for i in range(len(samples))}


@pytest.mark.parametrize("foreign", [False, True], ids=["indexed", "as img2dataset writes it"])
def test_without_a_selection_every_success_in_storage_order(tmp_path: Path, foreign: bool) -> None:
    pictures = write_images(tmp_path, [5, 4], failed=[1, 7], foreign=foreign)
    samples = Samples.open(tmp_path)
    assert list(contents(samples).items()) == list(pictures.items())
    assert samples.weights.tolist() == [1.0] * 7
    expected = ["picture 0"] if foreign else ["picture 0", "another name of 0"]
    assert samples.captions(0) == expected


def test_a_selection_gives_its_rows_captions_and_weights(tmp_path: Path) -> None:
    pictures = write_images(tmp_path / "images", [5, 4])
    chosen = sorted(pictures)[::2]
    selection = write_selection(
        tmp_path, chosen, weights=[n + 0.5 for n in range(5)], captions=[[u[:4], "b"] for u in chosen]
    )
    samples = Samples.open(tmp_path / "images", selection)
    assert contents(samples) == {uid: pictures[uid] for uid in chosen}
    assert [samples.uid(i) for i in range(5)] == [uid for uid in pictures if uid in chosen], "storage order"
    for i in range(5):
        assert samples.captions(i) == [samples.uid(i)[:4], "b"]
        assert samples.weights[i] == chosen.index(samples.uid(i)) + 0.5
        assert int(samples.image_ids[i]) % 2**64 == int(sha256_of(samples.image_bytes(i))[:16], 16)


def test_samples_travel_to_another_process(tmp_path: Path) -> None:
    """Rank 0 opens them and sends them to the others, which open them again: few bytes, however many samples."""
    pictures = write_images(tmp_path / "images", [50, 40])
    selection = write_selection(tmp_path, sorted(pictures)[::2])
    samples = Samples.open([tmp_path / "images"], selection)
    samples.image_bytes(0)
    sent = pickle.dumps(samples)
    assert contents(pickle.loads(sent)) == contents(samples) and len(samples) == 45
    assert len(sent) < 1000


def test_uids_that_no_shard_holds_are_counted_and_one_is_named(tmp_path: Path) -> None:
    pictures = write_images(tmp_path / "images", [3])
    selection = write_selection(tmp_path, [*pictures, "f" * 32, "f" * 32])
    with pytest.raises(UserError, match=rf"2 of its 5 uids are in no shard of .*images \(such as {'f' * 32}\)"):
        Samples.open(tmp_path / "images", selection)


def test_folders_add_up_and_the_first_that_holds_a_uid_gives_it(tmp_path: Path) -> None:
    old = write_images(tmp_path / "a", [3])
    new = write_images(tmp_path / "b", [2, 2], first=2)
    samples = Samples.open([tmp_path / "a", tmp_path / "b"])
    assert list(contents(samples).items()) == list((old | new).items())
    assert len(samples) == 6
    assert samples.file([samples.uid(i) for i in range(6)].index(next(iter(new)))).parent.name == "a"


def test_the_same_picture_under_two_urls_is_two_samples_of_one_identity(tmp_path: Path) -> None:
    body = jpeg(0)
    rows = pa.Table.from_pylist([row(0, 0, body), row(1, 0, body)])
    write_tar(tmp_path / "00000.tar", [("000000000.jpg", body), ("000000001.jpg", body)])
    pq.write_table(rows, tmp_path / "00000.parquet")
    pq.write_table(index_rows(tmp_path / "00000.tar", rows), tmp_path / "00000_index.parquet")
    samples = Samples.open(tmp_path)
    assert len(samples) == 2 and samples.image_ids[0] == samples.image_ids[1] and samples.uid(0) != samples.uid(1)


def test_a_shard_step_that_left_the_images_is_passed_over(tmp_path: Path) -> None:
    pictures = write_images(tmp_path / "images", [3])
    (tmp_path / "shard").mkdir()
    (tmp_path / "shard" / "manifest.json").write_text(json.dumps({"resharded": False}))
    assert contents(Samples.open([tmp_path / "shard", tmp_path / "images"])) == pictures
    with pytest.raises(UserError, match="no shards of pictures"):
        Samples.open(tmp_path / "shard")


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shards of pictures"):
        Samples.open(tmp_path)
    write_images(tmp_path, [3], foreign=True)
    whole = (tmp_path / "00000.tar").read_bytes()
    (tmp_path / "00000.tar").write_bytes(whole[:1500])
    with pytest.raises(UserError, match=r"00000\.tar: truncated"):
        Samples.open(tmp_path)
    write_tar(tmp_path / "00000.tar", [("000000000.jpg", b"only one of three")])
    with pytest.raises(UserError, match=r"00000\.tar: 2 pictures of its Parquet are not in it, such as 000000001"):
        Samples.open(tmp_path)
    (tmp_path / "00000_index.parquet").write_bytes(b"half")
    with pytest.raises(UserError, match=r"00000_index\.parquet: not a readable index"):
        Samples.open(tmp_path)
    with pytest.raises(UserError, match="not a readable selection"):
        Samples.open(tmp_path, tmp_path / "none.parquet")


def test_text_ids_are_signed_64_bits_and_tell_captions_apart() -> None:
    ids = {text_id(f"caption {number}") for number in range(1000)}
    assert len(ids) == 1000 and all(-(2**63) <= name < 2**63 for name in ids)
    assert min(ids) < 0 < max(ids) and text_id("caption 0") in ids


def test_what_img2dataset_itself_wrote_is_read(tmp_path: Path) -> None:
    """By its own writers, with failed rows; it knows neither uid nor lists of captions."""
    from img2dataset.writer import WebDatasetSampleWriter

    names = ("key", "url", "caption", "status", "sha256")
    schema = pa.schema([(name, pa.string()) for name in names])
    writer = WebDatasetSampleWriter(0, str(tmp_path), True, 5, schema, "jpg")
    for number in range(4):
        body = jpeg(number) if number != 2 else None
        meta = {name: value for name, value in row(number, 0, body).items() if name in names}
        writer.write(body, meta["key"], meta["caption"], meta)
    writer.close()
    samples = Samples.open(tmp_path)
    assert contents(samples) == {row(n, 0, None)["uid"]: jpeg(n) for n in (0, 1, 3)}
    assert [samples.captions(i) for i in range(3)] == [["picture 0"], ["picture 1"], ["picture 3"]]
    assert int(samples.image_ids[2]) % 2**64 == int(sha256_of(jpeg(3))[:16], 16)
