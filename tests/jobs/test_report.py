"""The report: numbers as the steps left them, text of the web as text, and one file that needs no other."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import report
from jobs.filter import FUNNEL_FILE
from jobs.report_against import seal_of, source_at
from jobs.report_sources import Source, sample_of
from jobs.report_truth import Taken, judged_by
from jobs.select import REMOVED_FILE, SUMMARY_FILE
from tests.jobs.pictures import Picture, write_images
from tests.vlp_core.curation.drawings import blotches, jpeg
from tests.vlp_core.data.folders import write_selection
from vlp_core.curation.balance import BALANCE_FILE
from vlp_core.curation.rules import parse_rules
from vlp_core.curation.shard import Shard
from vlp_core.curation.verdicts import judged
from vlp_core.data.layout import SELECTION_FILE, SUCCESS, VERDICTS
from vlp_core.errors import UserError
from vlp_core.files import wide, write_table
from vlp_core.report.settings import Report
from vlp_core.tracker import Silent, Summary

HOSTILE = '"><script>alert(1)</script><img src=http://evil.test/x onerror=alert(2)>'
RULES = ("side>=100", "words>1")


def url(name: str) -> str:
    return f"http://h.test/{name}"


PICTURES = [
    *(Picture(url=url(f"good{n}"), body=jpeg(blotches(n)), captions=[f"a caption of {n}", "no"]) for n in range(6)),
    Picture(url=url("copy"), body=jpeg(blotches(0)), captions=["another caption"]),
    Picture(url=url("leak"), body=jpeg(blotches(20)), captions=["a picture of theirs"]),
    Picture(url=url(HOSTILE), body=jpeg(blotches(7, width=60, height=50)), captions=[HOSTILE]),
    Picture(url=url("mute"), body=jpeg(blotches(8)), captions=[HOSTILE.replace(" ", "")]),
    Picture(url=f"http://<b>dead<b>.test/{HOSTILE}", body=None),
]
UIDS = {picture.url.rpartition("/")[2]: picture.uid for picture in PICTURES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in two shards, as its steps leave it: a copy, a picture of an evaluation set, two that rules took."""
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "images", PICTURES, shard_size=6)
    write_images(folder / "evaluation", [Picture(url=url("theirs"), body=jpeg(blotches(20)))])
    lost = _verdicts(folder)
    _funnel(folder, lost)
    texts = pa.large_string()
    copies = {"uid": [UIDS["copy"]], "kept_uid": [UIDS["good0"]], "reason": ["exact"], "row": [6], "kept_row": [0]}
    write_table(folder / "copies/00000.parquet", pa.table(copies))
    write_selection(folder / "selection", [UIDS[f"good{n}"] for n in range(6)])
    removed = {
        "uid": [UIDS["leak"]],
        "against": ["retrieval"],
        "other_uid": [Picture(url=url("theirs"), body=None).uid],
    }
    write_table(
        folder / "selection" / REMOVED_FILE,
        pa.table({**removed, "reason": ["exact"]}).cast(
            pa.schema([("uid", texts), ("against", pa.string()), ("other_uid", texts), ("reason", pa.string())])
        ),
    )
    meant = {"uid": [UIDS["good1"]], "kept_uid": [UIDS["good2"]], "row": [1], "kept_row": [2]}
    write_table(folder / "semantic/00000.parquet", pa.table(meant))
    entries = {"entry": [f"caption {HOSTILE}", "rare"], "before": [70, 2], "after": [20, 2]}
    write_table(folder / "selection" / BALANCE_FILE, pa.table(entries))
    counts = {"rules": 2, "copies": 1, "evaluation": 1, "at_most": 0}
    (folder / "selection" / SUMMARY_FILE).write_text(
        json.dumps({"digest": "ab" * 32, "rows": 6, "captions": 6, "removed": counts})
    )
    return folder


def _verdicts(folder: Path) -> list[tuple[int, int]]:
    """Verdicts of the rules by shard; the pictures and captions that each took."""
    from vlp_core.curation.captions import of_pictures, of_texts

    rules = parse_rules(RULES)
    names = pa.array([str(rule) for rule in rules])
    lost = [(0, 0)] * len(rules)
    for path in sorted((folder / "images").glob("0000?.parquet")):
        rows = pq.read_table(path).filter(pa.compute.field("status") == SUCCESS)
        shard = Shard(rows=rows)
        values = {**of_pictures(shard), **of_texts(shard)}
        found = judged(
            rules, shard.captions, {name: column.to_numpy(zero_copy_only=False) for name, column in values.items()}
        )
        fell = names.take(pa.array(found.rule, mask=found.rule < 0))
        write_table(folder / "verdicts" / path.name, pa.table([rows["uid"], fell, found.captions], schema=VERDICTS))
        lost = [(a + int((found.rule == n).sum()), b + found.captions_lost[n]) for n, (a, b) in enumerate(lost)]
    return lost


def _funnel(folder: Path, lost: list[tuple[int, int]]) -> None:
    stages = [{"rule": rule, "pictures": a, "captions": b} for rule, (a, b) in zip(RULES, lost, strict=True)]
    funnel = {"listed": 11, "fetched": 10, "kept": 8, "captions": {"fetched": 16, "kept": 8}, "lost": stages}
    (folder / "verdicts" / FUNNEL_FILE).write_text(json.dumps(funnel))


def made(
    folder: Path, out: Path, *, truth: Path | None = None, same: Path | None = None, **settings: object
) -> tuple[str, Summary]:
    out.mkdir(exist_ok=True)
    asked = Report(**settings)  # type: ignore[arg-type]
    summary = report.run(
        images=folder / "images",
        columns=(),
        verdicts=folder / "verdicts",
        copies=folder / "copies",
        selection=folder / "selection",
        evaluations=(folder / "evaluation",),
        names=("retrieval",),
        report=asked,
        semantic=folder / "semantic",
        same=same,
        against=report.against_of(asked),
        truth=truth,
        out=out,
        tracker=Silent(),
    )
    return (out / report.PAGE).read_text(), summary


class Reader(HTMLParser):
    """What a browser would see: elements that are open to the end, attributes, text by element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs] or [(tag, "", "")]
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_captions_and_urls_are_text_whatever_they_hold(folder: Path, tmp_path: Path) -> None:
    page, _ = made(folder, tmp_path, against=folder / "images")
    read = Reader(page)
    assert read.open == []
    tags = {tag for tag, _, _ in read.attributes}
    assert tags.isdisjoint({"script", "b-", "iframe", "link", "object", "base"}) and "<b>dead" not in page
    assert not [name for _, name, _ in read.attributes if name.startswith("on")]
    addresses = [value for _, name, value in read.attributes if name in ("src", "href", "xlink:href")]
    assert addresses and all(value.startswith(("data:image/jpeg;base64,", "#")) for value in addresses)
    said = "".join(read.text)
    assert '"><script>alert(1)</script><img' in said and "<b>dead<b>.test" in said
    assert "default-src 'none'" in page and "url(" not in page and "@import" not in page


def test_numbers_are_those_of_the_steps_and_every_kind_has_its_pictures(folder: Path, tmp_path: Path) -> None:
    page, summary = made(folder, tmp_path)
    text = re.sub(r"\s+", " ", "".join(Reader(page).text))
    assert "Every number is a count of all rows." in text and "≈" not in text
    for said in (
        "10 −1 (9.1%)",
        "9 −1 (10.0%)",
        "8 −1 (11.1%)",
        "7 −1 (12.5%)",
        "6 −1 (14.3%)",
    ):  # fetched … evaluation
        assert said in re.sub(r" +", " ", text), said
    assert "1 by meaning went after these" in text and "7020 28.6 %" in text
    assert "1 exact copies went" in text and "retrieval" in text and "went: exact" in text
    assert summary.counts["pictures/looked_at"] == 10
    # One of each rule, the ones that stand next to it, the copy and its original, the leak and theirs.
    assert summary.counts["pictures/shown"] == 11 == len(set(re.findall(r"data:image/jpeg;base64,[^\"]+", page))) + 2
    assert summary.pictures == {"report": report.PAGE} and (tmp_path / report.PAGE).stat().st_size < 200_000


def test_a_part_is_said_to_be_one_and_so_is_a_selection_that_another_arm_has(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "same.json").write_text('{"arm": "strict"}')
    page, summary = made(folder, tmp_path, rows=6, examples=0, same=tmp_path)
    assert "The same selection as that of strict, by other rules." in page
    assert "from 6 rows in 1 of 2 shards" in page and "≈" in page
    assert summary.counts == {"pictures/looked_at": 6, "pictures/shown": 0}


@pytest.mark.parametrize("first", ["it", "its copy"])
def test_captions_are_those_of_the_selection_be_they_handed_over_balanced_away_or_cut(
    first: str, tmp_path: Path
) -> None:
    texts = {"it": ["its own", "both have", "balanced away"], "copy": ["both have", "handed over"], "cut": ["cut off"]}
    order = ["it", "copy", "cut"] if first == "it" else ["copy", "cut", "it"]
    pictures = [Picture(url=url(name), body=jpeg(blotches(1)), captions=texts[name]) for name in order]
    write_images(tmp_path / "images", pictures, shard_size=2)
    uids = {name: picture.uid for name, picture in zip(order, pictures, strict=True)}
    write_table(tmp_path / "copies/00000.parquet", pa.table({"uid": [uids["copy"]], "kept_uid": [uids["it"]]}))
    write_selection(tmp_path / "selection", [uids["it"]], captions=[["its own", "both have", "handed over"]])
    source = Source(images=tmp_path / "images", copies=tmp_path / "copies", selection=tmp_path / "selection")
    sample = sample_of(source, 100)
    assert sample.uids.filter(pa.array(sample.selected)).to_pylist() == [uids["it"]]
    chosen = [
        (order[at], sample.texts[int(n)].as_py()) for n, at in enumerate(sample.owner) if sample.chosen_captions[n]
    ]
    assert sorted(chosen) == [("copy", "handed over"), ("it", "both have"), ("it", "its own")]


def test_a_part_may_hold_no_picture(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    rows = pq.read_table(data / "images/00000.parquet")
    at = rows.column_names.index("status")
    gone = rows.set_column(at, "status", pa.array(["failed_to_download"] * len(rows)))
    write_table(data / "images/00000.parquet", gone)
    for table in (data / "images/00000_index.parquet", data / "verdicts/00000.parquet"):
        write_table(table, pq.read_table(table)[:0])
    page, summary = made(data, tmp_path / "out", rows=6)
    assert summary.counts["pictures/looked_at"] == 0 and "side&gt;=100" in page


def test_equal_data_gives_equal_pages(folder: Path, tmp_path: Path) -> None:
    assert made(folder, tmp_path / "one")[0] == made(folder, tmp_path / "two")[0]


def test_what_was_planted_is_scored(folder: Path, tmp_path: Path) -> None:
    kinds = {"copy": "exact", "leak": "leak", HOSTILE.rpartition("/")[2]: "tiny", "mute": "filename"}
    rows = [(uid, kinds.get(name, "good"), UIDS["good0"] if name == "copy" else None) for name, uid in UIDS.items()]
    columns = dict(zip(("uid", "kind", "original"), map(list, zip(*rows, strict=True)), strict=True))
    write_table(
        tmp_path / "truth.parquet", pa.table({**columns, "original": pa.array(columns["original"], pa.string())})
    )
    _, summary = made(folder, tmp_path, truth=tmp_path / "truth.parquet")
    names = ("rules", "dedup", "decontamination")
    assert {name: summary.counts[f"recall/{name}"] for name in names} == dict.fromkeys(names, 1.0)
    assert {name: summary.counts[f"precision/{name}"] for name in names} == dict.fromkeys(names, 1.0)
    twice = pa.table({"uid": [UIDS["good1"]], "kept_uid": [UIDS["good1"]], "reason": ["exact"]})  # with two answers
    source = Source(images=folder / "images", verdicts=folder / "verdicts", selection=folder / "selection")
    taken = Taken(copies=wide(twice), semantic=None, evaluations=("retrieval",), last=())
    found = judged_by(tmp_path / "truth.parquet", source, taken, RULES)
    assert dict(zip(found.fates, dict(found.rows)["good"], strict=True))["selected"] == 6
    page, summary = made(folder, tmp_path, truth=_cut(tmp_path / "truth.parquet", 4))
    assert {name: summary.counts[f"rows/{name}"] for name in ("known", "listed")} == {"known": 4, "listed": 11}
    assert "The truth knows 4 of 11 rows of this list: the numbers below are of these alone." in page


def _cut(truth: Path, rows: int) -> Path:
    write_table(truth, pq.read_table(truth)[:rows])
    return truth


@pytest.mark.parametrize(
    ("last", "name"), [(["balancing"], "balancing"), (["balancing", "more than asked for"], "balancing or more than")]
)
def test_what_was_planted_went_by_the_step_that_took_it(
    folder: Path, tmp_path: Path, last: list[str], name: str
) -> None:
    """Of the good ones 0 is selected, 1 went for its meaning, 2 as another data set has it, 3 for an evaluation set
    that has its copy, the others last."""
    good = [UIDS[f"good{n}"] for n in range(6)]
    rows = {"uid": [*good, UIDS["copy"]], "kind": ["good"] * 6 + ["exact"], "original": [None] * 6 + [good[3]]}
    write_table(tmp_path / "truth.parquet", pa.table({**rows, "original": pa.array(rows["original"], pa.string())}))
    write_selection(tmp_path / "selection", good[:1])
    gone = {"uid": [good[2], good[3]], "against": ["/another/hash", "retrieval"]}
    write_table(tmp_path / "selection" / REMOVED_FILE, pa.table(gone))
    source = Source(images=folder / "images", verdicts=folder / "verdicts", selection=tmp_path / "selection")
    copies = pa.table({"uid": [UIDS["copy"]], "kept_uid": [good[3]], "reason": ["exact"]})
    semantic = wide(pa.table({"uid": [good[1]]}))
    taken = Taken(copies=wide(copies), semantic=semantic, evaluations=("retrieval",), last=last)
    found = judged_by(tmp_path / "truth.parquet", source, taken, RULES)
    after = ["copies: exact", "in evaluation sets", "in other data sets", "copies by meaning"]
    assert found.fates[:-2] == after and found.fates[-2].startswith(name) and found.fates[-1] == "selected"
    assert dict(found.rows) == {"good": [0, 1, 1, 1, 2, 1], "exact": [1, 0, 0, 0, 0, 0]}


def release(root: Path, folder: Path) -> Path:
    """A root whose steps are the folders of a data set."""
    made_from: Mapping[str, tuple[str, ...]] = {
        "select/b": ("filter/a", "dedup/a", "hash/a"),
        "filter/a": ("download/a",),
        "dedup/a": (),
        "download/a": (),
    }
    for place, inputs in made_from.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        names = {"select": "selection", "filter": "verdicts", "dedup": "copies", "download": "images"}
        name = names[place.split("/")[0]]
        (root / place).mkdir()
        for file in (folder / name).iterdir():
            os.link(file, root / place / file.name)
        (root / place / "_RECORD.json").write_text("{}")
        (root / place / "_RUN.json").write_text(json.dumps({"inputs": inputs}))
    return root


def test_drift_is_told_from_a_folder_of_pictures_or_the_root_of_a_release(folder: Path, tmp_path: Path) -> None:
    page, _ = made(folder, tmp_path / "one", against=folder / "evaluation")
    text = re.sub(r"\s+", " ", "".join(Reader(page).text))
    assert (
        "What is fetched here against what is fetched in" in text
        and "Of 10 links here and 1 there, 0 are in both" in text
    )
    assert "10 and 1 pictures looked at. Fewer than 100 pictures say nothing of a drift. Two draws of so many" in text
    root = release(tmp_path / "root", folder)
    assert source_at(root).selection == root / "select/b" and source_at(root).images == root / "download/a"
    page, _ = made(folder, tmp_path / "two", against=root)
    text = re.sub(r"\s+", " ", "".join(Reader(page).text))
    assert "What is selected here against" in text and "10 are in both, and behind 0 of these" in text
    assert set(re.findall(r"distance ([\d.]+)", text)) == {"0.000"}
    shutil.copytree(folder / "images", tmp_path / "elsewhere")
    for file in (tmp_path / "elsewhere").iterdir():
        if file.name[5:] == ".parquet":  # as img2dataset writes it where it was not asked for hashes
            write_table(file, pq.read_table(file).drop_columns("sha256"))
        else:  # no picture is read for hashes that a page could do without
            file.unlink()
    page, _ = made(folder, tmp_path / "three", against=tmp_path / "elsewhere")
    assert "10 are in both; whether the pictures behind these are the same is not known" in "".join(Reader(page).text)


def test_a_seal_is_of_the_tables_and_what_is_no_data_set_is_told(folder: Path, tmp_path: Path) -> None:
    root = release(tmp_path / "root", folder)
    before = seal_of(root)
    assert before == seal_of(root)
    tar = next((root / "download/a").glob("*.tar"))
    tar.unlink()  # no picture is looked at
    assert seal_of(root) == before
    (root / "select/b" / SELECTION_FILE).unlink()
    write_selection(root / "select/b", [UIDS["good0"]])
    assert seal_of(root) != before
    (root / "filter/a/_RUN.json").write_text('{"inputs": ["download/gone"]}')
    with pytest.raises(UserError, match=r"what .*filter/a was made from is gone \(download or adopt\)"):
        seal_of(root)
    (tmp_path / "empty").mkdir()
    for path, why in (
        (tmp_path / "empty", "neither shards of pictures nor a finished select step"),
        (tmp_path / "no", "no such"),
    ):
        with pytest.raises(UserError, match=f"--report.against {path}: {why}"):
            report.against_of(Report(against=path))


@pytest.mark.parametrize(
    ("settings", "says"), [({"rows": 0}, "--report.rows 0"), ({"examples": 99}, "--report.examples 99")]
)
def test_settings_that_cannot_be(settings: dict[str, int], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Report(**settings)  # type: ignore[arg-type]
