from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.vlp_core.data.folders import write_images, write_selection
from vlp_core.data.stored import index_shard, join, read_rows
from vlp_core.identity import sha256_of


def test_columns_that_grow_with_a_data_set_have_64_bit_offsets(tmp_path: Path) -> None:
    """Or they end at 2 GiB of text: 67 million uids. A selection is read by row groups for the same reason."""
    pictures = write_images(tmp_path / "images", [5, 4])
    selection = write_selection(tmp_path, sorted(pictures))
    pq.write_table(pq.read_table(selection), selection, row_group_size=2)
    _, table, stored = join(tmp_path / "images", selection)
    assert stored == 9
    kinds = {name: table.schema.field(name).type for name in ("uid", "sha256", "captions")}
    text = pa.large_string()
    assert kinds == {"uid": text, "sha256": text, "captions": pa.large_list(text)}
    assert sorted(table["uid"].to_pylist()) == sorted(pictures)


def test_rows_that_img2dataset_wrote_are_read_without_their_pictures_which_their_index_needs(tmp_path: Path) -> None:
    """A stage that looks at captions and sizes alone must not read terabytes to hash them."""
    pictures = write_images(tmp_path, [4], failed=[2], foreign=True)
    _, index = index_shard(tmp_path, "00000")
    assert dict(zip(index["uid"].to_pylist(), index["sha256"].to_pylist(), strict=True)) == {
        uid: sha256_of(body) for uid, body in pictures.items()
    }
    (tmp_path / "00000.tar").unlink()
    rows = read_rows(tmp_path, "00000")
    assert "sha256" not in rows.column_names and set(pictures) < set(rows["uid"].to_pylist())
    assert rows["captions"].to_pylist() == [[f"picture {number}"] for number in range(4)]
