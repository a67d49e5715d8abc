"""Pipelines as a user meets them: exit codes and lines, on the tests' Ray cluster; as processes where signals, the
environment, or two at once are what matters."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from pipelines.workflow.cli import run_pipeline
from pipelines.workflow.ending import USAGE_FAULT, USER_FAULT
from pipelines.workflow.lock import Lock
from pipelines.workflow.purging import PLAN_FILE
from pipelines.workflow.record import RECORD
from pipelines.workflow.results import Results
from pipelines.workflow.step import Step
from pipelines.workflow.tracking import KILLED, store_of
from tests.forks import Program
from tests.pipelines.conftest import PROJECT, Command, root_with
from tests.pipelines.workflow.toy import Toy, build
from vlp_core.files import write_text

HERE = Path(__file__).parent
TOY = HERE / "toy.py"


@pytest.fixture
def toy(tmp_path: Path, cluster: str, store: Path) -> Command:
    return Command(TOY, root_with(store, tmp_path / "root"), cluster)


class Here:
    """The same in this process, whose imports and workers of Ray are there already."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *flags: str, code: int = 0) -> str:
        """Run to the end; returns what was printed."""
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            ended = run_pipeline("toy", Toy, build, headline=("shout",), arguments=["--root", str(self.root), *flags])
        assert ended == code, said.getvalue()
        return said.getvalue()


@pytest.fixture
def here(toy: Command, handlers: None) -> Here:
    return Here(toy.root)


def runs_of(root: Path, query: str) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(store_of(root))
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], query))


def test_runs_then_reuses_then_reruns_what_a_change_touches(toy: Command, here: Here) -> None:
    first = toy()
    assert "✓ write" in first and "✓ shout" in first
    assert "nothing to do" in toy(RAY_ADDRESS="127.0.0.1:1")  # no Ray there: none is needed
    explained = here("--mark", "?", "--explain")
    assert 'mark: "!" → "?"' in explained and "write  reuse" in explained
    changed = here("--mark", "?")
    assert "= write" in changed and "✓ shout" in changed
    parents = runs_of(toy.root, "tags.`vlp.command` != ''")
    assert sorted(run.data.tags["loudest"] for run in parents) == ["A B!", "A B?"]
    reused = runs_of(toy.root, "tags.`vlp.reused` = 'true' and tags.`vlp.step` = 'write'")
    made = runs_of(toy.root, "tags.`vlp.record` != '' and tags.`vlp.step` = 'write'")
    assert reused[0].data.tags["vlp.made_by"] == made[0].info.run_id
    assert made[0].info.status == "FINISHED"


def test_a_failing_step_ends_its_dependents_not_its_siblings_and_is_named_last(here: Here) -> None:
    said = here("--fail", "refuse", code=2)
    assert "✓ count" in said
    assert "words to say" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: refuse:") and last.endswith("add words")
    assert not list((here.root / "after").glob("*/_RECORD.json"))


def test_a_fault_of_the_program_exits_1_with_its_cause_and_leaves_no_record(here: Here) -> None:
    said = here("--fail", "burst", code=1)
    assert said.strip().splitlines()[-1] == "error: burst: RuntimeError: burst"
    assert not list((here.root / "burst").glob("*/_RECORD.json"))


def test_a_full_disk_is_one_line(here: Here) -> None:
    assert "no space left; free some" in here("--fail", "fill_disk", code=2)


def test_until_makes_no_more_than_asked(here: Here) -> None:
    here("--until", "write")
    assert not (here.root / "shout").exists()


def test_force_makes_a_step_again_and_its_equal_result_leaves_dependents_alone(here: Here, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("more")
    flags = ("--file", str(tmp_path / "more.txt"))
    here(*flags)
    for path in here.root.glob("*/*/_RUN.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"sources": {"old.py": "another"}}))
    said = here(*flags, "--force", "write")
    assert "✓ write" in said and "= shout" in said
    changed = [line.partition("since: ")[2] for line in said.splitlines() if line.startswith("! reused, though")]
    assert changed == ["count; --force STEP makes one again", "shout, add; --force STEP makes one again"]


def test_another_way_to_the_same_content_leaves_dependents_alone(here: Here) -> None:
    here("--text.words", "a", "--text.repeat", "3")
    said = here("--text.words", "a", "a", "a")
    assert "✓ write" in said and "= shout" in said


@pytest.mark.parametrize(
    ("flags", "said", "code"),
    [
        (["--makr", "x"], "--makr: no such flag; did you mean '--mark'?", USAGE_FAULT),
        (["--mark", "x", "--mark", "y"], "--mark: given twice", USAGE_FAULT),
        (["--wholly-else", "x"], "--wholly-else: no such flag; toy --help lists all", USAGE_FAULT),
        (["--mark"], "Missing value for argument '--mark'. Expected 1 values; toy --help lists all flags", USAGE_FAULT),
        (["--text.repeat", "x"], "--text.repeat", USAGE_FAULT),
        (["--until", "shuot"], "--until shuot: no such step; did you mean 'shout'?", USAGE_FAULT),
        (["--force", "x"], "--force x: no such step", USAGE_FAULT),
        (["--force", "shout", "--until", "write"], "--force shout: write does not need it", USAGE_FAULT),
        (["--file", "gone.txt"], "gone.txt: no such file", USER_FAULT),
    ],
)
def test_a_wrong_flag_is_one_line_with_the_nearest(toy: Command, flags: list[str], said: str, code: int) -> None:
    printed = toy(*flags, code=code)
    assert said in printed
    assert len(printed.strip().splitlines()) == 1


def test_an_unreachable_mlflow_server_is_one_line_and_nothing_runs(toy: Command) -> None:
    printed = toy(code=2, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert "http://127.0.0.1:9" in printed.strip().splitlines()[-1]
    assert not (toy.root / "write").exists()


def test_a_cluster_that_is_not_there_is_one_line(toy: Command) -> None:
    printed = toy(code=2, RAY_ADDRESS="127.0.0.1:1")
    assert "RAY_ADDRESS 127.0.0.1:1: no Ray cluster" in printed.strip().splitlines()[-1]


def test_a_cluster_that_does_not_start_is_one_line_that_says_where_its_logs_are(toy: Command, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)  # no socket may have such a name
    printed = toy(code=2, RAY_ADDRESS="", RAY_TMPDIR=str(folder)).strip().splitlines()
    assert printed[-1].startswith("error: Ray does not start on this machine (")
    assert f"why is in {folder}/ray/session_latest/logs" in printed[-1]
    assert not any("Traceback" in line for line in printed)


def test_a_root_that_cannot_be_made_is_one_line(tmp_path: Path, cluster: str) -> None:
    (tmp_path / "file").write_text("")
    printed = Command(TOY, tmp_path / "file" / "root", cluster)(code=2)
    assert "--root" in printed and len(printed.strip().splitlines()) == 1


def test_while_a_purge_is_half_done_no_pipeline_starts(here: Here) -> None:
    write_text(here.root / PLAN_FILE, "{}")
    for flags in ((), ("--explain",)):
        assert "pictures are being purged" in here(*flags, code=2)
    assert not (here.root / "write").exists()


@pytest.mark.usefixtures("cluster", "handlers")
def test_a_purge_that_begins_while_a_pipeline_is_planned_is_seen_before_anything_is_made(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = root_with(store, tmp_path / "root")

    def slow(config: Toy) -> list[Step]:
        write_text(root / PLAN_FILE, "{}")
        return build(config)

    assert run_pipeline("toy", Toy, slow, arguments=["--root", str(root)]) == 2
    assert "pictures are being purged" in capsys.readouterr().err
    assert not (root / "write").exists()


def test_two_runs_at_once_make_each_step_once(toy: Command, here: Here) -> None:
    here("--until", "count")  # so that both find a store
    one = toy.start("--text.pause-s", "4")
    other = toy.start("--text.pause-s", "4")
    said = [process.last_words() for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], said
    assert sum("✓ write" in text for text in said) == 1
    assert sum("= write" in text for text in said) == 1


def test_two_first_runs_at_once_share_an_empty_root(tmp_path: Path, cluster: str) -> None:
    toy = Command(TOY, tmp_path / "root", cluster)
    runs = [toy.start("--until", "write"), toy.start("--until", "count")]
    said = [process.last_words() for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert len(runs_of(toy.root, "tags.`vlp.command` != ''")) == 2


def test_a_result_that_is_being_read_is_not_replaced(toy: Command, here: Here) -> None:
    here("--until", "write")
    (folder,) = [path.parent for path in toy.root.glob(f"write/*/{RECORD}")]
    reader = Results(toy.root).lock("write", folder.name)
    assert reader.take(shared=True)
    process = toy.start("--force", "write", "--until", "write")
    wait_for(process, "… write: ")
    assert process.poll() is None
    reader.release()
    said = process.last_words()
    assert process.returncode == 0 and "✓ write" in said


def test_a_file_that_vanishes_ends_the_step_that_reads_it_and_no_other(toy: Command, tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("c")
    process = toy.start("--text.pause-s", "3", "--file", str(file))
    wait_for(process, "▸ write")
    file.unlink()
    said = process.last_words()
    assert process.returncode == 2
    assert "✓ shout" in said and "✓ count" in said
    assert said.strip().splitlines()[-1] == f"error: add: {file}: no such file; check the path"


def test_a_file_that_changes_while_it_is_read_gives_no_record(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "more.txt"
    file.write_text("c")
    said = here("--file", str(file), "--meddle", code=2)
    assert "! add: the file was added" in said
    assert "error: add: changed while it was read: file" in said.strip().splitlines()[-1]
    assert not list((here.root / "add").glob(f"*/{RECORD}"))


def test_a_killed_run_is_closed_and_goes_on(toy: Command, here: Here) -> None:
    process = toy.start("--text.pause-s", "60")
    wait_for(process, "▸ write")
    process.kill()
    process.last_words()
    here()
    killed = runs_of(toy.root, f"attributes.status = '{KILLED}'")
    assert {run.info.run_name for run in killed} >= {"toy", "write"}
    assert not runs_of(toy.root, "attributes.status = 'RUNNING'")


def test_a_run_killed_after_its_last_record_is_closed_though_nothing_is_to_do(here: Here) -> None:
    import mlflow

    here("--until", "write")
    client = mlflow.MlflowClient(store_of(here.root))
    (parent,) = runs_of(here.root, "tags.`vlp.command` != ''")
    client.update_run(parent.info.run_id, status="RUNNING")
    left = here.root / ".runs" / parent.data.tags["vlp.invocation"]
    left.write_text(json.dumps({"store": store_of(here.root), "experiment": parent.info.experiment_id}))
    assert "nothing to do" in here("--until", "write")
    assert not runs_of(here.root, "attributes.status = 'RUNNING'")
    assert not list((here.root / ".runs").iterdir())


def test_sigterm_leaves_a_closed_run_that_goes_on(toy: Command) -> None:
    process = toy.start("--text.pause-s", "60")
    wait_for(process, "▸ write")
    process.terminate()
    said = process.last_words()
    assert process.returncode == 130 and "goes on from here" in said
    assert not runs_of(toy.root, "attributes.status = 'RUNNING'")


def wait_for(process: Program, text: str) -> None:
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"ended without {text!r}")


def test_a_lock_is_given_back_when_its_holder_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys,time; from pathlib import Path; from pipelines.workflow.lock import Lock\n"
            "lock = Lock(Path(sys.argv[1])); assert lock.take(); lock.sign(); print('held', flush=True)\n"
            "time.sleep(60)",
            str(tmp_path / "lock"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    lock = Lock(tmp_path / "lock")
    assert not lock.take() and str(holder.pid) in lock.holder()
    holder.kill()
    holder.wait()
    assert lock.take()
    lock.sign()
    lock.release()
    assert lock.holder() == "another process" and Lock(lock.path).is_free()
    assert not Lock(tmp_path / "none").is_free() and not (tmp_path / "none").exists()
