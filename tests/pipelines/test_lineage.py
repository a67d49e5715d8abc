"""Taking down and asking who saw it, as a user does: at the command line, with a registry."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import lineage, takedown
from pipelines.workflow.registered import registered_folder
from pipelines.workflow.tracking import store_of
from tests.jobs.pictures import Picture, write_images
from tests.jobs.refreshing import World
from tests.pipelines.conftest import root_with
from tests.pipelines.records import recorded
from tests.vlp_core.data.folders import write_selection
from tests.vlp_core.evals.builders import model_folder
from tests.vlp_core.web.site import picture
from vlp_core.data.releases import Release, enter
from vlp_core.evals.settings import Register
from vlp_core.identity import sha256_of
from vlp_core.tracker import Silent
from vlp_core.train.trained_on import selections_of, write_selections

HOST = "http://pictures.test"
PICTURES = [Picture(url=f"{HOST}/{number}.jpg", body=picture(seed=number)) for number in range(4)]
COPY = Picture(url="http://other.test/copy.jpg", body=picture(seed=1))
DEAD = Picture(url=f"{HOST}/dead.jpg", body=None)
DIGEST = "cd" * 32
OUT = ": taken down; no later release has it"
PAGE = '<figure class="pic good" data-uid="{}"><img src="data:x"><figcaption>a picture</figcaption></figure>'


@pytest.fixture
def root(tmp_path: Path, store: Path) -> Path:
    """photos@1 of four pictures and a dead link, photos@2 of the last two and a copy; a selection of the first."""
    root = root_with(store, tmp_path / "root")
    for number, some in enumerate(([*PICTURES, DEAD], [*PICTURES[2:], COPY]), 1):
        folder = write_images(root / "release" / f"{number}", some, shard_size=2)
        counts = {"pictures": sum(shown.body is not None for shown in some), "added": 4 if number == 1 else 0}
        info = {"title": f"photos@{number}", "digest": f"{number}", "counts": counts}
        (folder / "release.json").write_text(json.dumps(info))
        recorded(folder)
        named = {"name": "photos", "root": str(root), "as_of": "2026-03-01T03:00:00+00:00", "digest": f"{number}"}
        enter(Release(**named, number=number, folder=f"release/{number}"))
    selection = root / "select" / "0"
    write_selection(selection, [shown.uid for shown in PICTURES[:2]])
    table = pq.read_table(selection / "selection.parquet")
    known = {shown.uid: sha256_of(shown.body or b"") for shown in PICTURES}
    bodies = pa.array([known[uid] for uid in table["uid"].to_pylist()], table.schema.field("sha256").type)
    pq.write_table(table.set_column(3, "sha256", bodies), selection / "selection.parquet")
    (selection / "selection.json").write_text(json.dumps({"digest": DIGEST, "rows": 2}))
    recorded(selection)
    return root


def select(folder: Path, digest: str, pictures: Sequence[Picture]) -> None:
    write_selection(folder, [shown.uid for shown in pictures])
    (folder / "selection.json").write_text(json.dumps({"digest": digest, "rows": len(pictures), "captions": 0}))
    recorded(folder)


def register(root: Path) -> Any:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    client = mlflow.MlflowClient(store_of(root))
    client.create_registered_model("clip")
    for digest in ("00" * 32, DIGEST):
        client.create_model_version("clip", source="s", tags={"selection_digest": digest})
    client.set_registered_model_alias("clip", "champion", "2")
    return client


def asked(root: Path, capsys: pytest.CaptureFixture[str], *names: str) -> tuple[int, dict[str, str], str]:
    """The exit code, how each saw it, and what was said of what nothing knows."""
    capsys.readouterr()
    code = lineage.main([*names, "--root", str(root)])
    said = capsys.readouterr()
    lines = [line.split("  ") for line in said.out.splitlines()[1:] if not line.endswith(OUT)]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return code, {who: how for _, who, how in cells}, said.err


def is_out(root: Path, capsys: pytest.CaptureFixture[str], *names: str) -> list[str]:
    """Those that are told to be in no later release."""
    capsys.readouterr()
    lineage.main([*names, "--root", str(root)])
    return [line.removesuffix(OUT) for line in capsys.readouterr().out.splitlines() if line.endswith(OUT)]


def test_releases_and_registered_models_that_saw_it_are_told_before_and_after_a_purge(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(root)
    seen, copied = PICTURES[1], "its picture under another link"
    model = f"selection {DIGEST[:12]}"
    by_link = {"photos@1": "picture", "photos@2": copied, "clip version 2 (champion)": model}
    for name in (seen.url, seen.uid, f"HTTP://Pictures.Test:80/{seen.url.rpartition('/')[2]}#top"):
        assert asked(root, capsys, name) == (0, by_link, "")
    assert seen.body is not None
    assert asked(root, capsys, sha256_of(seen.body))[:2] == (0, {**by_link, "photos@2": "picture"})
    assert asked(root, capsys, PICTURES[3].url)[:2] == (0, {"photos@1": "picture", "photos@2": "picture"})
    assert asked(root, capsys, DEAD.url)[:2] == (0, {"photos@1": "no picture"})
    host = {**by_link, "photos@2": f"picture, {copied}"}
    assert asked(root, capsys, "Pictures.test") == (0, host, "")
    under = {"photos@1": copied, "photos@2": "picture", "clip version 2 (champion)": f"{model}: {copied}"}
    assert asked(root, capsys, "other.test") == (0, under, "")
    code, table, said = asked(root, capsys, PICTURES[3].url, f"{HOST}/never.jpg")
    assert code == 1 and len(table) == 2
    assert said.splitlines() == [f"{HOST}/never.jpg: no release and no registered model in {root} knows it"]
    code, _, said = asked(root / "nowhere", capsys, PICTURES[3].url)
    assert code == 2 and f"--root {root / 'nowhere'}: there is no such folder" in said

    assert not is_out(root, capsys, seen.url)
    assert takedown.main([seen.url, "--purge", "--root", str(root)]) == 0
    assert pq.read_table(root / "select/0/selection.parquet")["uid"].to_pylist() == [PICTURES[0].uid]
    after = {"photos@1": "purged since", "photos@2": copied, "clip version 2 (champion)": f"{model}: purged since"}
    assert asked(root, capsys, seen.url)[:2] == (0, after)
    assert asked(root, capsys, f"HTTP://Pictures.Test:80/{seen.url.rpartition('/')[2]}")[:2] == (0, after)
    assert is_out(root, capsys, seen.url) == [seen.url]
    assert takedown.main([seen.url, "--root", str(root)]) == 0
    assert capsys.readouterr().out == "0 tombstones added, 1 were there\n"


def test_a_model_of_a_plain_list_is_told_whatever_releases_there_are(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By host and by every spelling of a url, also where a release has one spelling of it by its very uid."""
    plain = Picture(url="HTTP://Plain.test/p.jpg", body=picture(seed=8))
    respelt = Picture(url=PICTURES[0].url.upper().replace(".JPG", ".jpg"), body=picture(seed=9))
    accented = Picture(url="http://b\u00fccher.test/p.jpg", body=picture(seed=10))
    recorded(write_images(root / "download" / "0", [plain, respelt, accented]))
    selection, digest = root / "select" / "1", "ef" * 32
    select(selection, digest, [plain, respelt, accented])
    register(root).create_model_version("clip", source="s", tags={"selection_digest": digest})
    trained = {"clip version 3": f"selection {digest[:12]}"}
    for name in (
        "plain.test",
        "http://plain.test/p.jpg",
        plain.url,
        "xn--bcher-kva.test",
        "http://xn--bcher-kva.test/p.jpg",
    ):
        assert asked(root, capsys, name) == (0, trained, "")
    seen = {"photos@1": "picture", "clip version 2 (champion)": f"selection {DIGEST[:12]}", **trained}
    assert asked(root, capsys, PICTURES[0].url)[:2] == (0, seen)


@pytest.fixture
def trained(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Registers a model that was trained on the selection of that number, and started from a registered one."""
    import mlflow

    from jobs import register as stage

    def run(number: int, *start: str) -> None:
        selection = root / "select" / f"{number}"
        digest = json.loads((selection / "selection.json").read_text())["digest"]
        model = model_folder(tmp_path / f"{number}", number)
        seen = [one for name in start for one in selections_of(registered_folder(name, root))]
        write_selections(model, (digest, *seen))
        monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run(experiment).info.run_id)
        chosen = {"scores": tmp_path, "selection": selection, "register": Register()}
        stage.run(model=model, **chosen, out=tmp_path / "out" / f"{number}", tracker=Silent())

    before, uri = mlflow.get_tracking_uri(), store_of(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("pretrain", artifact_location=(root / "mlartifacts").as_uri())
    (tmp_path / "scores.json").write_text(json.dumps({"zero_shot/top1": 0.5, "data_digest": "d"}))
    yield run
    mlflow.set_tracking_uri(before)


def test_a_model_that_was_started_from_another_is_told_by_what_that_saw(
    root: Path, trained: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is registered, by whatever the export of the first says; and by its own selection where that has it too."""
    own = "ef" * 32
    select(root / "select" / "1", own, PICTURES[1:3])
    trained(0)
    trained(1, "models:/clip/1")
    first, second = "clip version 1 (champion)", "clip version 2 (candidate)"
    by_start = f"by its start, selection {DIGEST[:12]}"
    told = {number: asked(root, capsys, PICTURES[number].uid)[1] for number in range(3)}
    assert told[0] == {"photos@1": "picture", first: f"selection {DIGEST[:12]}", second: by_start}
    assert (told[1][first], told[1][second]) == (f"selection {DIGEST[:12]}", f"selection {own[:12]}")
    assert first not in told[2] and told[2][second] == f"selection {own[:12]}"
    assert takedown.main([PICTURES[0].url, "--purge", "--root", str(root)]) == 0
    assert asked(root, capsys, PICTURES[0].uid)[1][second] == f"{by_start}: purged since"


def test_without_a_name_the_releases_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told() -> list[list[str]]:
        assert lineage.main(["--root", str(root)]) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    begun = "2026-03-01T03:00"
    head, first, last = told()
    assert head == ["release", "begun", "pictures", "changes"]
    assert (first, last) == (["photos@1", begun, "4", "4", "added"], ["photos@2", begun, "3", "none"])
    assert takedown.main([PICTURES[1].url, "--purge", "--root", str(root)]) == 0
    capsys.readouterr()
    assert told()[1] == ["photos@1", begun, "3", "4", "added,", "1", "purged"]


def test_a_shard_that_releases_share_is_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And once more for a url, which may be written otherwise."""
    read: list[Path] = []
    real = pq.ParquetFile

    def counted(path: Any, *rest: Any, **more: Any) -> Any:
        read.append(Path(path))
        return real(path, *rest, **more)

    def reads(name: str) -> Counter[str]:
        read.clear()
        assert lineage.lineage(root, [name])
        return Counter(str(path.relative_to(root)) for path in read)

    monkeypatch.setattr("jobs.seen_by.pq.ParquetFile", counted)
    shards = [f"release/1/0000{number}.parquet" for number in range(3)] + ["release/2/00001.parquet"]
    for file in ("00000.parquet", "00000_index.parquet"):
        (root / "release/2" / file).write_bytes((root / "release/1" / file).read_bytes())
    recorded(root / "release/2")
    each = {"select/0/selection.parquet": 1, **dict.fromkeys(shards, 1)}
    assert reads(DEAD.uid) == each and reads(DEAD.url) == each | dict.fromkeys(shards, 2)


def test_what_is_taken_down_is_told_by_release_and_what_nothing_knows_in_one_line(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str, code: int = 0) -> str:
        assert takedown.main([*words, "--root", str(root)]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    line = told("http://nowhere.test/1.jpg", code=2)
    assert len(line.splitlines()) == 1 and "http://nowhere.test/1.jpg: known nowhere in" in line and "--anyway" in line
    assert not (root / "takedowns.parquet").exists()
    assert told("http://nowhere.test/1.jpg", "--anyway").splitlines()[1:] == ["1 tombstones added"]
    still = f"what is there has their pictures still: pipelines/takedown.py --purge --root {root} removes them"
    said = told("PICTURES.test", "http://nowhere.test/2.jpg", "--reason", "mail", "--by", "me")
    assert "photos@1: 4 pictures, of which" in said and "photos@2: 2 pictures" in said
    assert "! 1 known nowhere here, kept out of later releases all the same: http://nowhere.test/2.jpg" in said
    assert still in said and still not in told("pictures.test", "--explain")
    again = told("pictures.TEST.")
    assert "0 tombstones added, 1 were there" in again and still in again
    assert is_out(root, capsys, PICTURES[0].url, COPY.url, "pictures.TEST") == [PICTURES[0].url, "pictures.TEST"]
    for down, is_told in (("http://nowhere.test/2.jpg", True), ("http://nowhere.test/3.jpg", False)):
        code, _, said = asked(root, capsys, down)  # that nothing knows it is no proof that nothing saw it
        assert code == 1 and (f"{down}: taken down; " in said) == is_told
    rows = pq.read_table(root / "takedowns.parquet").to_pylist()
    assert [(row["kind"], row["by"]) for row in rows[1:]] == [("host", "me"), ("url", "me")]
    told("0123456789ABCDEF" * 4, "--anyway")
    for spelled in ("0123456789ABCDEF" * 4, "0123456789abcdef" * 4):
        assert "taken down; " in asked(root, capsys, spelled)[2]
    assert "nothing to take down: give urls" in told(code=2) and "unrecognized arguments" in told("--no", code=64)
    assert "is a uid" in told("0" * 32, code=2)


def test_what_mlflow_shows_of_it_goes_too(root: Path, tmp_path: Path) -> None:
    """Pages of this root's runs and of their steps lose it; drawings go that no result stands behind."""
    client = register(root)
    runs = {}
    experiment = client.create_experiment("pretrain", artifact_location=(root / "mlartifacts").as_uri())
    (tmp_path / "link").symlink_to(root)
    roots = {"ours": str(root), "theirs": "/elsewhere", "linked": str(tmp_path / "link")}
    for name, tags in ((name, {"vlp.root": where}) for name, where in roots.items()):
        runs[name] = client.create_run(experiment, tags=tags).info.run_id
    runs["step"] = client.create_run(experiment, tags={"mlflow.parentRunId": runs["ours"]}).info.run_id
    page = tmp_path / "report-report.html"
    page.write_text("".join(PAGE.format(shown.uid) for shown in PICTURES))
    drawing = tmp_path / "dedup-copies.png"
    drawing.write_bytes(picture(kind="PNG"))
    for run in runs.values():
        client.log_artifact(run, str(page))
        client.log_artifact(run, str(drawing), "in")
    assert takedown.main([PICTURES[2].url, "--purge", "--root", str(root)]) == 0
    for name, run in runs.items():
        folder = root / "mlartifacts" / run / "artifacts"
        html = (folder / page.name).read_text()
        assert (PICTURES[2].uid in html) == (name == "theirs") and html.count("<img") == (4 if name == "theirs" else 3)
        same = (folder / "in" / drawing.name).read_bytes() == drawing.read_bytes()
        assert same == (name == "theirs") and PICTURES[1].uid in html
    assert json.loads((root / "purges.jsonl").read_text())["artifacts"] == 6


def test_a_picture_that_waits_in_quarantine_is_known_by_its_link_and_its_bytes(cluster: str, tmp_path: Path) -> None:
    """And so is the one that was there before it."""
    world = World(tmp_path)
    with world.site:
        world.pictures(0, 1)
        old, new = world.says["1.jpg"], picture(80, 60, seed=9)
        world.refresh({"0.jpg": "a", "1.jpg": "b"})
        world.says["1.jpg"] = new
        world.refresh({"0.jpg": "a", "1.jpg": "b"}, days=100)
    names = [f"{HOST}/1.jpg", sha256_of(new), sha256_of(old)]
    waits = "waits in quarantine"
    found = {(text, who): how for text, who, how in lineage.lineage(world.root, names)}
    link, new_body, old_body = names
    first = {(link, "photos@1"): "picture", (old_body, "photos@1"): "picture"}
    assert found == first | {(text, "photos@2"): waits for text in (link, new_body, old_body)}
