"""An outcome of a schedule is told: in a line, in MLflow, and to a command and a web hook where it is a failure."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.scheduling.desk import Desk, Outcome
from pipelines.scheduling.scheduler import ON_TIME, Plan
from pipelines.workflow.firings import Firings, Links
from vlp_core.errors import first_line, public_text
from vlp_core.web.addresses import Gate
from vlp_core.web.hook import send

COMMAND_WITHIN_S = 30.0
HOOK_WITHIN_S = 10.0
_NONE = Links((), ())


@dataclass(frozen=True)
class Hooks:
    """Who is told of a failure. One that fails itself is only told of."""

    say: Callable[[str], None]
    command: str | None = None
    """Run by the shell, with the failure as JSON on its standard input."""
    url: str | None = None
    """The failure is sent there by POST, as JSON."""
    gate: Gate = Gate()

    def tell(self, failure: dict[str, Any]) -> None:
        body = json.dumps(failure).encode()
        if self.command is not None:
            self._warn("--on-failure", self._run(self.command, body))
        if self.url is not None:
            self._warn("--web-hook", asyncio.run(send(self.url, body, self.gate, HOOK_WITHIN_S)))

    def _run(self, command: str, body: bytes) -> str | None:
        try:
            told = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            return first_line(error)
        try:
            told.communicate(body, COMMAND_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            return first_line(error)
        finally:
            if told.returncode is None:
                os.killpg(told.pid, signal.SIGKILL)  # with all that its shell has begun
                told.wait()
        return f"exit code {told.returncode}" if told.returncode else None

    def _warn(self, flag: str, trouble: str | None) -> None:
        if trouble is not None:
            self.say(f"warning: {flag} was not told ({public_text(trouble)}); the schedule goes on")


@dataclass(frozen=True)
class Teller:
    """Tells of the outcomes of a plan."""

    plan: Plan
    desk: Desk
    hooks: Hooks
    say: Callable[[str], None]

    def __call__(self, outcome: Outcome) -> str:
        """Returns the run in MLflow, or "" where the store takes none: that is only told."""
        times = f" ({outcome.times} times)" if outcome.times > 1 else ""
        why = f": {outcome.why}" if outcome.why else ""
        self.say(f"{self.plan.shown(outcome.planned)} {outcome.state}{times}{why}")
        run, pipelines = self._record(outcome)
        if outcome.state == "failed":
            self.hooks.tell(self._failure(outcome, run, pipelines))
        return run

    def _record(self, outcome: Outcome) -> tuple[str, Links]:
        try:
            firings = Firings(self.desk.root, self.plan.name)
            pipelines = firings.begun_by(outcome.planned) if outcome.started else _NONE
            return self._write(firings, outcome, pipelines), pipelines
        except Exception as error:  # a store that is away must not end a schedule
            self.say(f"warning: MLflow has no run of it ({first_line(error)}); {self.desk.file} has it")
            return "", _NONE

    def _write(self, firings: Firings, outcome: Outcome, pipelines: Links) -> str:
        began = outcome.started or outcome.ended
        late = (began - outcome.planned).total_seconds()
        tags = {
            "vlp.schedule": self.plan.name,
            "vlp.state": outcome.state,
            "vlp.planned": outcome.planned.isoformat(),
            "vlp.started": outcome.started.isoformat() if outcome.started else "",
            "vlp.ended": outcome.ended.isoformat(),
            "vlp.error": outcome.why if outcome.state == "failed" else "",
            "vlp.why": outcome.why,
            "vlp.pipeline_run": pipelines.ids[0] if pipelines.ids else "",
        }
        metrics: dict[str, float] = {"times": outcome.times}
        if outcome.started:
            took = (outcome.ended - outcome.started).total_seconds()
            metrics |= {"late_s": late, "took_s": took, "attempts": outcome.attempts}
            tags["vlp.catch_up"] = "true" if late > ON_TIME.total_seconds() else ""
        cron = self.plan.cron
        params = {"cron": cron.expression, "timezone": cron.timezone} if cron else {}
        return firings.write(
            began=began,
            ended=outcome.ended,
            failed=outcome.state in ("failed", "missed"),
            tags={key: value for key, value in tags.items() if value},
            metrics=metrics,
            params={**params, "command": " ".join(self.plan.command)},
            note=" · ".join([f"{self.plan.shown(outcome.planned)} {outcome.state}", *pipelines.links]),
            log=self.desk.log(outcome.planned) if outcome.state == "failed" else None,
        )

    def _failure(self, outcome: Outcome, run: str, pipelines: Links) -> dict[str, Any]:
        return {
            "schedule": self.plan.name,
            "state": outcome.state,
            "planned": outcome.planned.isoformat(),
            "started": outcome.started.isoformat() if outcome.started else None,
            "ended": outcome.ended.isoformat(),
            "attempts": outcome.attempts,
            "error": outcome.why,
            "run_id": run or None,
            "pipeline_run_id": pipelines.ids[0] if pipelines.ids else None,
        }
