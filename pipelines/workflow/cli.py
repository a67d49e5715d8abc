"""The command line of every pipeline: its configuration, and the flags of the workflow."""

import contextlib
import dataclasses
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pipelines.workflow.outside import Digests
from pipelines.workflow.plan import Decision, Planner
from pipelines.workflow.progress import Display, clock
from pipelines.workflow.record import Results
from pipelines.workflow.runner import STATUS, Runner
from pipelines.workflow.step import Step, find, walk
from pipelines.workflow.tracking import KILLED, Tracking, store_of
from pipelines.workflow.worker import no_space
from vlp_core.errors import UserError, nearest
from vlp_core.files import write_text

OK, FAULT, USER_FAULT, INTERRUPTED = 0, 1, 2, 130


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
) -> int:
    """Parse the command line, plan, and run what is not made yet. Returns the exit code.

    `build` turns a configuration into the pipeline's last steps; `headline` names the steps whose counts become the
    parent run's metrics.

    Exit codes: 0 done, 1 a fault of the program, 2 something for the user to mend, 130 interrupted.
    """
    try:
        config, workflow = parse(config_type, sys.argv[1:] if arguments is None else list(arguments), name)
        return Invocation(name, config, workflow, build, headline).run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_FAULT
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED


@dataclass
class Invocation:
    """One call of a pipeline: its plan, and its execution where the plan has something to run."""

    name: str
    config: Any
    workflow: Workflow
    build: Callable[[Any], Sequence[Step]]
    headline: tuple[str, ...]

    def run(self) -> int:
        root = open_root(self.workflow.root)
        steps = walk(list(self.build(self.config)))
        for forced in self.workflow.force:
            find(steps, forced, "--force")
        if self.workflow.until:
            steps = walk([find(steps, self.workflow.until, "--until")])
        planner = Planner(
            results=Results(root),
            digests=Digests(root / ".digests.json"),
            forced=frozenset(self.workflow.force),
            verify=self.workflow.verify,
            repair=not self.workflow.explain,
        )
        decisions = [planner.decide(step) for step in steps]
        planner.digests.save()
        planner.verify = False
        for warning in planner.warnings:
            print(f"! {warning}")
        planner.warnings.clear()
        if self.workflow.explain:
            self._explain(decisions)
            return OK
        if all(decision.reused for decision in decisions):
            self._nothing_to_do(root, decisions)
            return OK
        return self._execute(root, steps, planner)

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
        signal.signal(signal.SIGTERM, _interrupt)
        tracking = Tracking(root, self.name)
        started = time.time()
        with Display() as display:
            display.width = max(len(step.name) for step in steps)
            display.line(f"{self.name} → {root} · MLflow at {store_of(root)}")
            runner = Runner(steps, planner, tracking, display)
            status = KILLED
            try:
                runner.start(dataclasses.asdict(self.config), " ".join(sys.argv))
                failures = runner.run()
                status = STATUS[not failures]
            except OSError as error:
                raise _as_user_error(error, root) from error
            finally:
                with contextlib.suppress(ImportError):
                    runner.stop()
                if tracking.parent:
                    runner.close(self.name, status, self.headline)
                planner.digests.save()
            took = clock(time.time() - started)
            if not failures:
                display.line(f"done in {took} · see it: make ui")
                return OK
        for failure in failures:
            log = root / ".errors" / f"{failure.step}.txt"
            if not failure.by_user:
                write_text(log, failure.why)
                print(failure.why, file=sys.stderr)
            print(f"error: {failure.step}: {failure.why.splitlines()[-1]}", file=sys.stderr)
        return USER_FAULT if all(failure.by_user for failure in failures) else FAULT


def open_root(given: Path | None) -> Path:
    """The absolute folder of results, made if need be. A relative one inside Ray's cache of uploads is refused."""
    chosen = given or Path(os.environ.get("VLP_ROOT") or "runs")
    uploaded = "runtime_resources" in Path.cwd().parts
    if uploaded and not chosen.is_absolute():
        if given is not None:
            raise UserError(f"--root {given}: relative to Ray's upload cache, which is emptied; give an absolute path")
        chosen = Path.home() / "vlp" / "runs"
    root = chosen.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _as_user_error(error, root) from error
    return root


def _as_user_error(error: OSError, root: Path) -> UserError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(no_space(root))
    return UserError(f"{error.filename or root}: {error.strerror or error}; give --root a folder that can be written")


def parse(config_type: type[Any], arguments: list[str], name: str) -> tuple[Any, Workflow]:
    """The configuration and the workflow's flags. Raises UserError with the nearest flag, or what is wrong with one."""
    import tyro

    def both(
        config: Annotated[Any, tyro.conf.arg(name="")], workflow: Annotated[Workflow, tyro.conf.arg(name="")]
    ) -> tuple[Any, Workflow]:
        return config, workflow

    both.__annotations__["config"] = Annotated[config_type, tyro.conf.arg(name="")]
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
        raise UserError(_one_line(said.getvalue(), name)) from None
    if unknown:
        known = _flags(lambda: tyro.cli(both, args=["--help"], prog=name))
        raise UserError(f"{unknown[0]}: no such flag{_near_flag(unknown[0], known)}; {name} --help lists all")
    return config, workflow


def _flags(show_help: Callable[[], Any]) -> list[str]:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        show_help()
    return sorted({flag for flag in re.findall(r"--[a-z][\w.-]*", shown.getvalue()) if "--no-" not in flag})


def _near_flag(flag: str, known: list[str]) -> str:
    hint = nearest(flag.split("=")[0].replace("_", "-"), known)
    return hint if "did you mean" in hint else ""


def _one_line(box: str, name: str) -> str:
    """The words of a boxed message, without its frame and its advice on --help."""
    lines = [line.strip("│╭╮╰╯─ \n") for line in box.splitlines()]
    words = [line for line in lines if line and "helptext" not in line]
    return " ".join(words) + f"; {name} --help lists all flags"


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
