"""Filter: verdicts beside the pictures, and a funnel that adds up."""

import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs import filter as filter_stage
from tests.jobs.downloading import answer, body_of, fetched, settings, write_pairs
from tests.jobs.filtered import filtered
from tests.jobs.listening import Listening
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core.curation.drawings import blotches, jpeg
from tests.vlp_core.web.site import Site
from vlp_core.curation.hashes import phash, thumbnail
from vlp_core.curation.settings import Filter
from vlp_core.data.layout import VERDICTS, read_shards
from vlp_core.errors import UserError
from vlp_core.identity import sha256_of, uid_of
from vlp_core.tracker import Silent

GOOD = "a dog runs over the green grass"


def picture(number: int, *captions: str, width: int = 300, fetched: bool = True) -> Picture:
    body = jpeg(blotches(number, width=width, height=240)) if fetched else None
    return Picture(url=f"http://h.test/{number}", body=body, captions=captions)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards; the caption "buy now online" is on three pictures in two of them."""
    pictures = [
        picture(0, GOOD, "IMG_1.jpg"),
        picture(1, GOOD, width=120),
        picture(2, "buy now online"),
        picture(3, GOOD, fetched=False),
        picture(4, "buy now online", "a cat sleeps on the old sofa"),
        picture(5, "IMG_5.jpg", "dog"),
        picture(6, "buy now online", "buy now online"),
        picture(7),
    ]
    return write_images(tmp_path_factory.mktemp("images"), pictures, shard_size=3)


def judged(images: Path, out: Path, *rules: str) -> dict[int, tuple[str | None, list[str]]]:
    filtered(images, out, Filter(rules=rules))
    table = read_shards(out)
    assert table.schema.equals(VERDICTS)
    numbers = {uid_of(f"http://h.test/{number}"): number for number in range(8)}
    return {numbers[row["uid"]]: (row["rule"], row["captions"]) for row in table.to_pylist()}


def test_verdicts_name_the_rule_that_took_a_picture_and_the_captions_that_pass(
    images: Path, tmp_path: Path, cluster: str
) -> None:
    assert judged(images, tmp_path / "out", "filename=no", "side>=200", "words>=2", "shared<=2") == {
        0: (None, [GOOD]),
        1: ("side>=200", []),
        2: ("shared<=2", []),
        4: (None, ["a cat sleeps on the old sofa"]),
        5: ("words>=2", []),
        6: ("shared<=2", []),
        7: ("captions>=1", []),
    }
    funnel = json.loads((tmp_path / "out" / "funnel.json").read_text())
    assert funnel == {
        "listed": 8,
        "fetched": 7,
        "kept": 2,
        "captions": {"fetched": 10, "kept": 2},
        "lost": [
            {"rule": "captions>=1", "pictures": 1, "captions": 0},
            {"rule": "filename=no", "pictures": 0, "captions": 2},
            {"rule": "side>=200", "pictures": 1, "captions": 1},
            {"rule": "words>=2", "pictures": 1, "captions": 1},
            {"rule": "shared<=2", "pictures": 2, "captions": 4},
        ],
    }


@pytest.mark.parametrize("looked_at", [True, False])
def test_a_picture_that_is_another_than_its_list_says_is_lost(looked_at: bool, tmp_path: Path, cluster: str) -> None:
    """A domain that changed hands: by its sha256, or else by its perceptual hash, of which four bits may differ."""
    bodies = [body_of(f"{number}.jpg") for number in range(6)]
    looks = [int(phash(thumbnail(body))) for body in bodies]
    says = {
        "list_sha256": [sha256_of(bodies[0]).upper(), *["0" * 64] * 4, "not known"],
        "phash": [None, None, f"{looks[2] ^ 0b1111:016x}", f"{looks[3] ^ 0xFFFF:016X}", "", None],
    }
    pairs = write_pairs(tmp_path / "pairs", [f"{number}.jpg" for number in range(6)], **says)
    with Site(answer) as site:
        images = fetched(pairs, tmp_path / "images", settings(site, resize_mode="no"))
    counts = filtered(images, tmp_path / "out", Filter(rules=("captions>=1",), as_listed=looked_at))
    lost = [1, 3, 4] if looked_at else []
    assert [row["rule"] for row in read_shards(tmp_path / "out").to_pylist()] == [
        "listed=yes" if number in lost else None for number in range(6)
    ]
    assert counts.get("lost/listed", 0) == len(lost)


def test_counts_have_names_that_metrics_may_have(images: Path, tmp_path: Path, cluster: str) -> None:
    rules = ("side>=200", "side!=240", "words>=2")
    counts = filtered(images, tmp_path / "out", Filter(rules=rules))
    assert all(re.fullmatch(r"[\w/]+", name) for name in counts)
    assert (counts["lost/captions"], counts["lost/side"], counts["pictures/kept"]) == (1, 6, 0)


def test_pictures_that_share_a_caption_are_counted_over_all_shards(images: Path, tmp_path: Path, cluster: str) -> None:
    loose = judged(images, tmp_path / "three", "shared<=3")
    strict = judged(images, tmp_path / "two", "shared<3")
    assert loose[2] == (None, ["buy now online"]) and strict[2] == ("shared<3", [])


def test_a_share_of_all_is_taken_over_all_shards_whatever_other_rules_take(
    images: Path, tmp_path: Path, cluster: str
) -> None:
    """Of ten captions the three longest are GOOD, twice, and one of 28 letters; a small picture has one of them."""
    counts = filtered(images, tmp_path / "out", Filter(rules=("side>=200", "chars>=top100%", "chars>=top30%")))
    assert (counts["threshold/chars_top30"], counts["captions/kept"], counts["pictures/kept"]) == (28, 2, 2)
    assert counts["threshold/chars_top100"] < 28


def test_equal_input_gives_equal_files_and_a_picture_of_the_funnel(images: Path, tmp_path: Path, cluster: str) -> None:
    judged(images, tmp_path / "one", "datacomp_basic", "shared<=10")
    judged(images, tmp_path / "two", "datacomp_basic", "shared<=10")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["00000.parquet", "00001.parquet", "00002.parquet", "funnel.json", "funnel.png"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    with Image.open(tmp_path / "one" / "funnel.png") as drawn:
        assert drawn.width > 600


@pytest.mark.parametrize("nulls", [False, True], ids=["dropped", "null"])
@pytest.mark.parametrize(
    ("lacking", "rule", "others"),
    [
        ("original_width", "ratio<=3", ("bytes>=1", "words>2")),
        ("original_height", "side>=200", ("bytes>=1",)),
        ("bytes", "bytes>=1", ("side>=200",)),
        ("format", "format=jpeg", ("side>=200",)),
    ],
)
def test_only_the_columns_that_rules_ask_for_must_be_there(
    images: Path, tmp_path: Path, cluster: str, lacking: str, rule: str, others: tuple[str, ...], nulls: bool
) -> None:
    """Folders that other tools wrote lack some; what was adopted of them has nulls."""
    shutil.copytree(images, tmp_path / "images")
    for shard in tmp_path.glob("images/0000?.parquet"):
        lack(shard, lacking, nulls=nulls)
    judged(tmp_path / "images", tmp_path / "out", *others)
    with pytest.raises(UserError, match=rf"images: no column .*{lacking}.* in any shard, which '{rule}' asks for"):
        judged(tmp_path / "images", tmp_path / "refused", *others, rule)


def lack(shard: Path, column: str, *, nulls: bool) -> None:
    rows = pq.read_table(shard)
    at = rows.column_names.index(column)
    kept = rows.remove_column(at)
    pq.write_table(kept.add_column(at, column, pa.nulls(len(rows), rows[column].type)) if nulls else kept, shard)


@pytest.mark.parametrize(
    ("column", "rule"), [("bytes", "bytes>=1"), ("format", "format!=png"), ("bytes", "bytes>=top90%")]
)
def test_a_set_that_lacks_what_others_have_is_told_with_what_it_loses(
    images: Path, tmp_path: Path, cluster: str, column: str, rule: str
) -> None:
    shutil.copytree(images, tmp_path / "images")
    lack(tmp_path / "images" / "00001.parquet", column, nulls=True)
    heard = Listening()
    counts = filtered(tmp_path / "images", tmp_path / "out", Filter(rules=(rule,)), heard)
    assert counts["pictures/kept"] == (3 if "top" in rule else 4) and counts[f"lost/{column}"] == (
        3 if "top" in rule else 2
    )
    assert [text.partition(";")[0] for text in heard.warnings] == [
        f"2 of 7 pictures have no {column}, so that '{rule}' took them all"
    ]


def test_columns_of_other_pictures_are_refused(images: Path, tmp_path: Path, cluster: str) -> None:
    filtered(write_images(tmp_path / "others", [picture(0, GOOD)] * 3, shard_size=1), tmp_path / "out", Filter())
    with pytest.raises(UserError, match="measured of other pictures"):
        filter_stage.run(
            images=images, columns=(tmp_path / "out-columns",), filter=Filter(), out=tmp_path / "out", tracker=Silent()
        )


@pytest.mark.parametrize(
    ("rules", "hint"), [(("datacomp_basik",), "did you mean 'datacomp_basic'"), ((), "without a rule: give some")]
)
def test_an_unknown_rule_or_none_is_refused_when_it_is_written_down(rules: tuple[str, ...], hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        Filter(rules=rules)


def test_an_unknown_detector_is_refused_before_any_work() -> None:
    settings = Filter(detector="no_such:detector")
    with pytest.raises(UserError, match="language detector 'no_such:detector'"):
        filter_stage.check_detector(settings)


def test_a_language_is_asked_of_a_detector_that_gives_it() -> None:
    own = "tests.vlp_core.curation.test_rules:klingon"
    filter_stage.check_detector(Filter(rules=("language=tlh",), detector=own))
    filter_stage.check_detector(Filter(rules=("language!=ceb",)))
    with pytest.raises(UserError, match=r"the detector gives no language 'eng'; near it are .*\ben\b"):
        filter_stage.check_detector(Filter(rules=("language!=eng",)))


def test_a_detector_that_no_rule_asks_for_is_not_looked_for(images: Path, tmp_path: Path, cluster: str) -> None:
    settings = Filter(rules=("words>=2",), detector="no_such:detector")
    filter_stage.check_detector(settings)
    assert filtered(images, tmp_path / "out", settings)["pictures/kept"] == 5


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no shards of pictures"):
        filter_stage.run(images=tmp_path, columns=(), filter=Filter(), out=tmp_path, tracker=Silent())
