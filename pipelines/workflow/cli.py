"""The command line of every pipeline: its configuration, and the flags of the workflow."""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from threading import Event
from typing import Annotated, Any

from pipelines.workflow.elsewhere import check_elsewhere
from pipelines.workflow.ending import FAULT, OK, USER_FAULT, UsageError, disk_faults, ended, unwritable
from pipelines.workflow.outside import Digests
from pipelines.workflow.plan import Decision, Planner
from pipelines.workflow.progress import Display, clock
from pipelines.workflow.purging import check_no_purge
from pipelines.workflow.registered import resolved
from pipelines.workflow.results import Results
from pipelines.workflow.runner import Failure, Runner
from pipelines.workflow.step import Step, find, outside_paths, walk
from pipelines.workflow.tracking import FAILED, FINISHED, KILLED, Tracking, store_of
from vlp_core.errors import UserError, first_line
from vlp_core.files import write_text


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """Flags that every pipeline has."""

    root: Path | None = None
    """The folder of all results: a local or shared disk. Default: $VLP_ROOT, else ./runs."""
    explain: bool = False
    """Say for each step whether it would run and why, and stop."""
    until: str | None = None
    """Make this step and what it needs, no more."""
    force: tuple[str, ...] = ()
    """Make these steps again though they are made."""
    verify: bool = False
    """Read every file of every result and compare it with its record; what is corrupt is made again."""


def run_pipeline(
    name: str,
    config_type: type[Any],
    build: Callable[[Any], Sequence[Step]],
    *,
    headline: tuple[str, ...] = (),
    arguments: Sequence[str] | None = None,
    run_name: str = "",
    common: type[Workflow] = Workflow,
    run: "Callable[[Invocation], int] | None" = None,
) -> int:
    """Parse the command line, plan, and run what is not made yet. Returns the exit code.

    `build` turns a configuration into the pipeline's last steps; `headline` names the steps whose counts become the
    parent run's metrics. `name` is the experiment's in MLflow; `run_name` its run's, where that is another. `common`
    are the flags beside the configuration's, and `run` does what they ask. Exit codes are those of `ended`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)

    def work() -> int:
        config, workflow = parse(config_type, given, f"{name} {run_name}".strip(), common)
        root = root_of(workflow)
        with disk_faults(root):
            return (run or Invocation.run)(Invocation(name, config, workflow, build, headline, root, run_name))

    return ended(work)


class Interruption:
    """Ctrl-C or SIGTERM: at once while things start; then where the runner looks, between two of its moves; a second
    one at once again."""

    def __init__(self) -> None:
        self._deferred, self._came = False, Event()
        self._listen()

    def defer(self) -> None:
        self._deferred = True
        self._listen()  # again: Ray has put a handler of its own, which would end this process as it stands

    def asked(self) -> bool:
        return self._came.is_set()

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, *_: Any) -> None:
        if self._came.is_set() or not self._deferred:
            raise KeyboardInterrupt
        self._came.set()


@dataclass
class Invocation:
    """One call of a pipeline: its plan, and its execution where the plan has something to run."""

    name: str
    config: Any
    workflow: Workflow
    build: Callable[[Any], Sequence[Step]]
    headline: tuple[str, ...]
    root: Path
    run_name: str = ""

    def run(self) -> int:
        root = self.root
        check_no_purge(root)
        steps = self.steps()
        planner = Planner(
            results=Results(root),
            digests=Digests(root / ".digests.json"),
            forced=frozenset(self.workflow.force),
            verify=self.workflow.verify,
            repair=not self.workflow.explain,
        )
        self._register_again(planner, steps)
        for path in (path for step in steps for value in step.inputs.values() for path in outside_paths(value)):
            planner.digests.of(path)  # a file that is missing is told before the first step, whichever it is for
        if not self.workflow.explain:
            make_root(root)
        decisions = [planner.decide(step) for step in steps]
        for line in (*planner.tell(), *planner.tell_of_code()):
            print(f"! {line}")
        if self.workflow.verify:
            print(f"verified: {planner.verified}")
        if self.workflow.explain:
            self._explain(decisions)
            return OK
        planner.digests.save()
        if all(decision.reused for decision in decisions):
            Tracking(root, self.name).close_left_open()
            self._nothing_to_do(root, decisions)
            return OK
        return self._execute(root, steps, planner)

    def steps(self) -> list[Step]:
        """The DAG as far as it is wanted."""
        check_elsewhere(self.config, self.root)
        steps = walk(list(self.build(resolved(self.config, self.root, whole=self.workflow.verify))))
        for forced in self.workflow.force:
            find(steps, forced, "--force")
        if self.workflow.until:
            steps = walk([find(steps, self.workflow.until, "--until")])
            left_out = [name for name in self.workflow.force if name not in {step.name for step in steps}]
            if left_out:
                raise UsageError(
                    f"--force {left_out[0]}: {self.workflow.until} does not need it; leave out --force or --until"
                )
        return steps

    def _register_again(self, planner: Planner, steps: Sequence[Step]) -> None:
        """Where the store in the root was deleted, a registration that is on record is in no registry."""
        store = store_of(self.root)
        lost = store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).exists()
        registered = [step.name for step in steps if step.accepts("registry") and planner.results.of(step.name)]
        if lost and registered:
            planner.warnings.append(f"{store.removeprefix('sqlite:///')} is gone; registering again")
            planner.forced |= set(registered)
            for name in registered if planner.repair else ():  # on disk too: this start may not come as far
                planner.results.forget(name)

    def _explain(self, decisions: Sequence[Decision]) -> None:
        width = max(len(decision.step.name) for decision in decisions)
        for decision in decisions:
            verdict = "reuse" if decision.reused else "run"
            print(f"{decision.step.name:<{width}}  {verdict:<5}  {decision.reason}".rstrip())

    def _nothing_to_do(self, root: Path, decisions: Sequence[Decision]) -> None:
        last = decisions[-1]
        assert last.identity is not None
        folder = root / last.step.name / last.identity.fingerprint
        verified = " and every file is as recorded" if self.workflow.verify else ""
        print(f"nothing to do: all {len(decisions)} steps are made{verified}; the last is {folder}")

    def _execute(self, root: Path, steps: list[Step], planner: Planner) -> int:
        interruption = Interruption()
        tracking = Tracking(root, self.name, self.run_name)
        started = time.time()
        with Display() as display:
            display.width = max(len(step.name) for step in steps)
            display.line(f"{' '.join(filter(None, (self.name, self.run_name)))} → {root} · MLflow at {tracking.place}")
            runner = Runner(steps, planner, tracking, display, interruption.asked)
            status = FAILED
            try:
                runner.start(dataclasses.asdict(self.config), " ".join(sys.argv))
                interruption.defer()
                check_no_purge(root)  # one that began since sees that this run has
                failures = runner.run()
                status = FAILED if failures else FINISHED
            except KeyboardInterrupt:
                status = KILLED
                raise
            finally:
                runner.stop()
                if tracking.parent:
                    self._close(runner, status)
                planner.digests.save()
            took = clock(time.time() - started)
            if not failures:
                display.line(f"done in {took} · see it: {tracking.shown_by}")
                return OK
        return _tell(failures, root)

    def _close(self, runner: Runner, status: str) -> None:
        try:
            runner.close(self.name, status, self.headline)
        except OSError as error:  # must not hide why the run ended
            print(f"warning: the run's page in MLflow is not complete ({first_line(error)})", file=sys.stderr)


def _tell(failures: Sequence[Failure], root: Path) -> int:
    """Print what failed, the cause last; a traceback is kept in the root as well. Returns the exit code."""
    for failure in failures:
        if not failure.by_user:
            print(failure.why, file=sys.stderr)
            with contextlib.suppress(OSError):
                write_text(root / ".errors" / f"{failure.step}.txt", failure.why)
    for failure in failures:
        print(f"error: {failure.step}: {failure.why.splitlines()[-1]}", file=sys.stderr)
    return USER_FAULT if all(failure.by_user for failure in failures) else FAULT


def open_root(given: Path | None, *, look_only: bool = False) -> Path:
    """The absolute folder of results, made if need be. A relative one inside Ray's cache of uploads is refused."""
    chosen = given or Path(os.environ.get("VLP_ROOT") or "runs")
    uploaded = "runtime_resources" in Path.cwd().parts
    if uploaded and not chosen.is_absolute():
        if given is not None:
            raise UserError(f"--root {given}: relative to Ray's upload cache, which is emptied; give an absolute path")
        chosen = Path.home() / "vlp" / "runs"
    root = chosen.absolute()
    if not look_only:
        make_root(root)
    return root


def root_of(workflow: Workflow) -> Path:
    """The folder of a pipeline's results; one that is not there yet is to be made when nothing is refused any more."""
    root = open_root(workflow.root, look_only=True)
    if root.exists() and not workflow.explain:
        make_root(root)
    return root


def make_root(root: Path) -> None:
    """Make the folder of results if need be. UserError where it cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise unwritable(error, root) from error


def existing_root(given: Path | None) -> Path:
    """The absolute folder of results, which is not made. UserError where there is none."""
    root = open_root(given, look_only=True)
    if not root.is_dir():
        raise UserError(f"--root {root}: there is no such folder; give the one that the results are in")
    return root


def parse(config_type: type[Any], arguments: list[str], name: str, common: type[Any] = Workflow) -> tuple[Any, Any]:
    """The configuration and the flags that all have: the workflow's, or what takes their place.

    Raises UsageError with the nearest flag, or what is wrong with one.
    """
    import tyro

    def both(
        config: Annotated[Any, tyro.conf.arg(name="")], workflow: Annotated[Any, tyro.conf.arg(name="")]
    ) -> tuple[Any, Any]:
        return config, workflow

    both.__annotations__["config"] = Annotated[config_type, tyro.conf.arg(name="")]
    both.__annotations__["workflow"] = Annotated[common, tyro.conf.arg(name="")]
    said = io.StringIO()
    description = (config_type.__doc__ or "").strip()
    try:
        with contextlib.redirect_stderr(said):
            (config, workflow), unknown = tyro.cli(
                both, args=arguments, prog=name, description=description, return_unknown_args=True
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise UsageError(_one_line(said.getvalue(), name)) from None
    except UserError as error:  # a setting refuses its value
        raise UsageError(str(error)) from error
    except BrokenPipeError:  # whoever reads the help has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(OK) from None
    flags = [word.partition("=")[0] for word in arguments if word.startswith("--")]
    for flag in flags:
        if flags.count(flag) > 1:
            raise UsageError(f"{flag}: given twice; name all of its values after one")
    if unknown:
        known = _flags(lambda: tyro.cli(both, args=["--help"], prog=name))
        raise UsageError(f"{unknown[0]}: no such flag{_near_flag(unknown[0], known)}; {name} --help lists all")
    return config, workflow


def _flags(show_help: Callable[[], Any]) -> list[str]:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        show_help()
    return sorted({flag for flag in re.findall(r"--[a-z][\w.-]*", shown.getvalue()) if "--no-" not in flag})


def _near_flag(flag: str, known: list[str]) -> str:
    close = difflib.get_close_matches(flag.split("=")[0].replace("_", "-"), known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""


def _one_line(box: str, name: str) -> str:
    """What a boxed message says first, without its frame and title and the help on the flag below it."""
    lines = [line.strip("│ \n") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    said = " ".join(takewhile(lambda line: not line.startswith("─"), lines))
    return f"{said.removeprefix('Error parsing ').rstrip('.')}; {name} --help lists all flags"
