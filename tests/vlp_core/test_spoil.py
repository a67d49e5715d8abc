"""Spoilt lists: as many links as before, each what the truth says it is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlp_core.files import write_table
from vlp_core.identity import uid_of
from vlp_core.miniature.captions import BOILERPLATE
from vlp_core.spoil import main

LINKS = 60
RATES = {"wrong": 0.1, "boilerplate": 0.2, "duplicates": 0.25, "leaks": 0.05}
KINDS = {"wrong": 6, "boilerplate": 12, "exact": 15, "leak": 3, "good": 24}


def write_list(path: Path, name: str, number: int) -> Path:
    rows = [(f"http://{name}.test/{n}.jpg", f"{word} {name} {n}") for n in range(number) for word in ("one", "two")]
    write_table(path, pa.table({"url": [url for url, _ in rows], "caption": [text for _, text in rows]}))
    return path


def spoil(folder: Path, *flags: str) -> int:
    train, test = (write_list(folder / f"{name}.parquet", name, number) for name, number in (("t", LINKS), ("e", 9)))
    rates = [word for name, rate in RATES.items() for word in (f"--{name}", str(rate))]
    return main([str(train), "--out", str(folder / "out"), "--test", str(test), *rates, *flags])


def test_each_link_is_what_the_truth_says(tmp_path: Path) -> None:
    assert spoil(tmp_path) == 0
    truth = pq.read_table(tmp_path / "out/truth.parquet").to_pylist()
    captions: dict[str, list[str]] = {}
    for row in pq.read_table(tmp_path / "out/pairs.parquet").to_pylist():
        captions.setdefault(row["url"], []).append(row["caption"])
    assert list(captions) == [row["url"] for row in truth] and len(truth) == LINKS
    assert {kind: sum(row["kind"] == kind for row in truth) for kind in KINDS} == KINDS
    for row in truth:
        url, texts = row["url"], captions[row["url"]]
        picture, _, copy = url.partition("?copy=")
        own = [f"{word} {picture[7]} {picture.rpartition('/')[2][:-4]}" for word in ("one", "two")]
        assert row["uid"] == uid_of(url) and row["original"] == (uid_of(picture) if copy else None)
        assert bool(copy) == (row["kind"] in ("exact", "leak")) and (picture[7] == "e") == (row["kind"] == "leak")
        if row["kind"] == "boilerplate":
            assert len(texts) == 1 and texts[0] in BOILERPLATE
        elif row["kind"] == "wrong":
            assert len(texts) == 2 and not set(texts) & set(own)
        else:
            assert texts == own
        if row["kind"] == "exact":
            assert picture in captions, "what it copies is there"


def test_a_seed_decides(tmp_path: Path) -> None:
    found = []
    for number, flags in enumerate(((), (), ("--seed", "1"))):
        folder = tmp_path / str(number)
        assert spoil(folder, *flags) == 0
        found.append(pq.read_table(folder / "out/pairs.parquet"))
    assert found[0] == found[1] != found[2]


def test_an_earlier_list_is_not_replaced_by_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert spoil(tmp_path) == spoil(tmp_path) == 0
    before = (tmp_path / "out/truth.parquet").read_bytes()
    (tmp_path / "out/pairs.parquet").unlink()  # as a kill between the two leaves it
    capsys.readouterr()
    assert spoil(tmp_path, "--seed", "1") == 2
    said = capsys.readouterr().err
    assert "out/truth.parquet: is there already" in said and said.count("\n") == 1
    assert (tmp_path / "out/truth.parquet").read_bytes() == before
    assert not (tmp_path / "out/pairs.parquet").exists()


def test_help_says_what_each_kind_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    kinds = {"wrong": "wrong", "boilerplate": "boilerplate", "duplicates": "exact", "leaks": "leak"}
    for name, kind in kinds.items():
        about = said.partition(f"--{name} SHARE share of links that ")[2]
        assert about.partition("(kind: ")[2].startswith(f"{kind})")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--wrong", "0.6"), "more than all links would be spoilt (1.1); lower the rates"),
        (("--wrong", "-1"), "--wrong -1.0: give a share from 0 to 1"),
        (("--test", "nowhere.parquet"), "nowhere.parquet: no such file or folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert spoil(tmp_path, *flags) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {says}") and said.count("\n") == 1


def test_leaks_need_a_test_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_list(tmp_path / "t.csv.parquet", "t", 4)
    assert main([str(train), "--out", str(tmp_path), "--leaks", "0.5"]) == 2
    assert capsys.readouterr().err == "error: --leaks 0.5: of which list? give --test LIST too\n"
