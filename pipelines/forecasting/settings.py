"""The flags of a pipeline that can tell beforehand what it will give, take and leave."""

from dataclasses import dataclass

from pipelines.workflow.cli import Workflow
from vlp_core.errors import UserError

FOLDER = "forecast"
"""Of a root: where the results of samples lie."""
LINKS, STEPS = 1000, 50


@dataclass(frozen=True, kw_only=True)
class Forecasting(Workflow):
    """The workflow's flags, and those of a forecast."""

    forecast: bool = False
    """Ask a sample of the links and train some steps, say what the whole will give, take and leave, and stop."""
    forecast_links: int = LINKS
    """Links of each list that a forecast asks."""
    forecast_steps: int = STEPS
    """Steps that a forecast trains."""

    def __post_init__(self) -> None:
        if self.forecast_links < 20:
            raise UserError(f"--forecast-links {self.forecast_links}: give 20 or more, or little is known of the whole")
        if self.forecast_steps < 10:
            raise UserError(
                f"--forecast-steps {self.forecast_steps}: give 10 or more, for the first ones are no measure"
            )
        if not self.forecast and (self.forecast_links, self.forecast_steps) != (LINKS, STEPS):
            raise UserError("--forecast-links and --forecast-steps are for a forecast: give --forecast too")
        if self.forecast and self.explain:
            raise UserError("--forecast and --explain: leave out one of them")
        if self.forecast and self.force:
            raise UserError("--forecast and --force: leave out one of them; a forecast is made anew in an empty folder")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a forecast asks."""

    links: int
    steps: int
