"""What --keep removes: whole results, and never what a kept release, a registered model or anybody else needs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.collect import Coming, collect, rehearse
from pipelines.workflow.open_runs import hold
from pipelines.workflow.record import BEGUN, RUN, Record
from pipelines.workflow.released import held_by
from pipelines.workflow.results import Results
from tests.pipelines.records import recorded
from vlp_core.data.adopted import Place, write_place
from vlp_core.data.releases import CHANGE, QUARANTINE, QUARANTINE_FILE, Release, enter, numbers
from vlp_core.files import write_text

ONE = " (where this refresh makes a release)"
OTHER = " (where this refresh makes a release with other pictures or captions)"


class Root:
    """A root with results whose records name what they stand on, as pipelines write them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def made(
        self, step: str, *below: Record, places: tuple[Record, ...] = (), body: str | None = None, **inputs: Any
    ) -> Record:
        """A result of a step that stands on others, and reads pictures of some."""
        number = len(list((self.path / step).glob("*"))) + 1
        folder = self.path / step / f"{number:020d}"
        folder.mkdir(parents=True)
        (folder / "file").write_text(body or f"{step} {number} " + "x" * 1000)
        if step == "release":
            counts = dict.fromkeys(CHANGE, 0) | {"added": inputs.pop("added", 1)}
            (folder / "release.json").write_text(json.dumps({"title": inputs.pop("title"), "counts": counts}))
        for at, place in enumerate(places):
            write_place(folder, f"{at:05d}", Place(file=str(self.folder(place) / "00000.tar"), size=1))
        on = [{"step": record.step, "content": record.content} for record in below]
        return recorded(folder, **inputs, on=on)

    def folder(self, record: Record) -> Path:
        return self.path / record.step / record.fingerprint

    def release(self, name: str, number: int, *downloads: Record, added: int = 1) -> Record:
        """A release that reads pictures of these, made of the last; published."""
        pairs = self.made("ingest")
        asked = self.made("changes", pairs)
        made = self.made(
            "release", pairs, asked, *downloads[-1:], places=downloads, title=f"{name}@{number}", added=added
        )
        self.made("publish", made)
        folder = str(self.folder(made).relative_to(self.path))
        enter(Release(name=name, number=number, root=str(self.path), folder=folder, digest=f"{number}", as_of=""))
        return made

    def adopted(self, release: Record, body: str | None = None) -> Record:
        return self.made("adopt", sources=[str(self.folder(release))], body=body)

    def left(self) -> set[str]:
        return {f"{p.parent.parent.name}/{int(p.parent.name)}" for p in self.path.glob("[!.]*/[!.]*/_RECORD.json")}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def three(root: Root) -> list[Record]:
    """Three releases, of which the later read pictures of the earlier ones' downloads, but the first download."""
    downloads = [root.made("download") for _ in range(3)]
    return [
        root.release("photos", 1, downloads[0], downloads[1]),
        root.release("photos", 2, downloads[1]),
        root.release("photos", 3, downloads[1], downloads[2]),
    ]


@pytest.mark.parametrize("name", ["root", "link"])
def test_what_old_releases_alone_need_goes_whole_and_what_was_made_of_them(root: Root, name: str) -> None:
    """By whatever name the root is reached that day."""
    releases = three(root)
    named = root.path.with_name(name)
    if name == "link":
        named.symlink_to(root.path)
    root.made("hash", root.adopted(releases[0]))
    root.made("hash", root.adopted(releases[2]))
    before = root.left()
    told = list(rehearse(named, "photos", 1, Coming()))
    assert root.left() == before and "would remove photos@1" in told and "would go" in told[-1]
    told = list(collect(named, "photos", 1))
    gone = {f"{step}/{n}" for step in ("release", "publish", "ingest", "changes") for n in (1, 2)}
    assert before - root.left() == gone | {"download/1", "adopt/1", "hash/1"}
    assert numbers(root.path, "photos") == [3] and "removes photos@2" in told
    assert "kB in 11 results are gone" in told[-1]
    assert not list(root.path.rglob("*.old"))
    assert "0 B in 0 results" in list(collect(named, "photos", 1))[-1]


def test_the_picture_that_one_in_quarantine_is_compared_with_stays(root: Root) -> None:
    last, (download, *_) = three(root)[-1], sorted((root.path / "download").iterdir())
    waiting = {"uid": "u", "url": "http://a.test/1", "before_file": str(download / "00000.tar")}
    pq.write_table(pa.Table.from_pylist([waiting], QUARANTINE), root.folder(last) / QUARANTINE_FILE)
    assert "photos@3" in held_by(root.path, download), "nor is it made again, which would lose it as well"
    list(collect(root.path, "photos", 1))
    assert numbers(root.path, "photos") == [3] and "download/1" in root.left() and "release/1" not in root.left()


def test_what_begins_while_it_is_decided_what_goes_keeps_all(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have looked up a release by then, on whose folder it has no lock."""
    three(root)
    there, others = root.left(), iter(["", "another pipeline"])
    monkeypatch.setattr("pipelines.collect.at_work", lambda _: next(others))
    (told,) = collect(root.path, "photos", 1)
    assert "nothing is removed while another pipeline works" in told and root.left() == there


@pytest.mark.parametrize(("keep", "left"), [(1, [6]), (2, [4, 5, 6]), (3, [1, 4, 5, 6])])
def test_of_releases_that_changed_nothing_the_last_stands_for_the_one_that_did(
    root: Root, keep: int, left: list[int]
) -> None:
    """A link that fails each night makes a release each night: these push out none that has other pictures."""
    download = root.made("download")
    for number, added in enumerate([1, 1, 0, 0, 1, 0], start=1):
        root.release("photos", number, download, added=added)
    list(collect(root.path, "photos", keep))
    assert numbers(root.path, "photos") == left


@pytest.mark.parametrize(
    ("certain", "possible", "keep", "gone"),
    [
        (0, 0, 2, {}),
        (1, 1, 1, {1: "", 2: "", 3: ""}),
        (1, 1, 2, {1: OTHER, 2: ""}),
        (0, 1, 1, {1: "", 2: "", 3: ONE}),
        (0, 1, 2, {1: OTHER, 2: ONE}),
        (1, 2, 2, {1: OTHER, 2: "", 3: ONE}),
    ],
)
def test_what_would_go_is_told_with_the_release_that_comes_first(
    root: Root, certain: int, possible: int, keep: int, gone: dict[int, str]
) -> None:
    """And under which condition, where what comes is not known: of 3, which changed nothing, 2 has the pictures."""
    download = root.made("download")
    for number, added in enumerate([1, 1, 0], start=1):
        root.release("photos", number, download, added=added)
    needs = frozenset({root.folder(download)})
    told = list(rehearse(root.path, "photos", keep, Coming(certain=certain, possible=possible, needs=needs)))
    assert [line for line in told if "@" in line] == [f"would remove photos@{n}{where}" for n, where in gone.items()]
    surely = 4 * list(gone.values()).count("")
    assert f"in {surely} results would go" in told[-1] and (", at most" in told[-1]) == any(gone.values())


def test_what_the_release_that_comes_stands_on_would_not_go(root: Root) -> None:
    downloads = [root.folder(root.made("download")) for _ in range(2)]
    records = [Record.read(folder) for folder in downloads]
    root.release("photos", 1, *filter(None, records))
    told = list(rehearse(root.path, "photos", 1, Coming(certain=1, possible=1, needs=frozenset(downloads[:1]))))
    assert "would remove photos@1" in told
    assert [line.split(",")[0] for line in told if "download/" in line] == [f"would remove download/{2:020d}"]


@pytest.mark.parametrize("registered", [True, False])
def test_a_model_another_series_and_other_pipelines_keep_what_they_stand_on(root: Root, registered: bool) -> None:
    releases = three(root)
    trained = root.made("train", root.adopted(releases[1]))
    if registered:
        root.made("register", trained, root.made("select"))
    other = root.made("download")
    root.release("others", 1, other)
    root.made("hash", Record.read(root.path / "download" / f"{1:020d}"))  # type: ignore[arg-type]
    told = list(collect(root.path, "photos", 1))
    left = root.left()
    assert {"release/2", "train/1", "adopt/1", "download/1", "download/2", "release/4"} <= left
    assert ("register/1" in left) == registered
    assert "release/1" not in left and "keeps photos@2, which a model or a run stands on" in told
    assert numbers(root.path, "photos") == [2, 3] and numbers(root.path, "others") == [1]


@pytest.mark.parametrize("step", ["train", "train-first", "train-clip-0"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_model_of_any_kind_keeps_what_it_stands_on_also_one_whose_training_was_cut_short(
    root: Root, step: str, whole: bool
) -> None:
    releases = three(root)
    adopted = root.adopted(releases[0])
    on = [{"step": "adopt", "content": adopted.content}]
    if whole:
        root.made(step, adopted)
    else:
        begun = {"step": step, "inputs": {"on": on}, "extends": {"steps": 9}, "made_of": []}
        write_text(root.path / step / "0.partial" / BEGUN, json.dumps(begun))
    list(collect(root.path, "photos", 1))
    assert numbers(root.path, "photos") == [1, 3] and "adopt/1" in root.left()


def test_what_was_made_of_pictures_that_a_later_release_has_just_so_stays(root: Root) -> None:
    """It goes by what is in them: the release that it was made of is not missed."""
    releases = three(root)
    first, last = (root.adopted(release, body="the same") for release in (releases[0], releases[2]))
    assert first.content == last.content
    root.made("hash", first)
    list(collect(root.path, "photos", 1))
    assert numbers(root.path, "photos") == [3] and {"adopt/2", "hash/1"} <= root.left()
    assert "adopt/1" not in root.left()


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_keeps_the_release_that_it_was_trained_on_though_another_has_just_its_pictures(
    root: Root, whole: bool
) -> None:
    """Else the command that trains it would find no such release."""
    releases = three(root)
    first, last = (root.adopted(release, body="the same") for release in (releases[0], releases[2]))
    selected = root.made("select", first)
    write_text(root.folder(selected) / RUN, json.dumps({"inputs": [f"adopt/{first.fingerprint}"]}))
    made_of = [f"select/{selected.fingerprint}"]
    on = [{"step": "select", "content": selected.content}]
    if whole:
        write_text(root.folder(root.made("train", selected)) / RUN, json.dumps({"inputs": made_of}))
    else:
        begun = {"step": "train", "inputs": {"on": on}, "extends": {}, "made_of": made_of}
        write_text(root.path / "train" / "0.partial" / BEGUN, json.dumps(begun))
    assert first.content == last.content
    list(collect(root.path, "photos", 1))
    assert numbers(root.path, "photos") == [1, 3] and {"adopt/1", "select/1"} <= root.left()


def test_a_release_whose_folder_is_gone_hinders_nobody(root: Root) -> None:
    shutil.rmtree(root.folder(three(root)[1]))
    list(collect(root.path, "photos", 1))
    assert numbers(root.path, "photos") == [2, 3] and "release/1" not in root.left()


def test_what_is_in_use_stays_and_nothing_goes_while_another_pipeline_is_at_work(root: Root) -> None:
    releases = three(root)
    before = root.left()
    run = hold(root.path, "token", store="s", experiment="e")
    (line,) = collect(root.path, "photos", 1)
    assert "nothing is removed while another pipeline works in" in line and root.left() == before
    run.release()
    run.path.unlink()
    reading = Results(root.path).lock("release", releases[0].fingerprint)
    assert reading.take(shared=True)
    told = list(collect(root.path, "photos", 1))
    assert "keeps photos@1, which a model or a run stands on" in told
    assert {"release/1", "download/1"} <= root.left() and numbers(root.path, "photos") == [1, 3]


def test_a_removal_that_was_killed_is_finished(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names go first, then what stands on others before what it stands on: nothing is ever half there."""
    three(root)

    class Killed(BaseException):
        pass

    removed: list[str] = []

    def killed(path: Path, **_: object) -> None:
        removed.append(path.name)
        if len(removed) == 6:
            raise Killed

    monkeypatch.setattr("pipelines.collect.shutil.rmtree", killed)
    with pytest.raises(Killed):
        list(collect(root.path, "photos", 1))
    monkeypatch.undo()
    assert numbers(root.path, "photos") == [3]
    list(collect(root.path, "photos", 1))
    assert root.left() == {f"{step}/3" for step in ("release", "publish", "ingest", "changes")} | {
        "download/2",
        "download/3",
    }
    assert not list(root.path.rglob("*.old"))
