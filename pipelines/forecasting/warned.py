"""What a user should know before days are spent, a line each."""

from collections.abc import Iterator, Sequence

from jobs import download, filter, select
from pipelines.forecasting.figures import Figures
from pipelines.words import bytes_told
from pipelines.workflow.step import Step

_MANY = 1000  # links below which no host is worth a word
_OFTEN = 0.2
_VAGUE = 0.3


def warnings_of(figures: Figures, steps: Sequence[Step], free: int | None) -> Iterator[str]:
    """`free` are the bytes that the disk has left, where the whole is still to be put there."""
    if free is not None and figures.disk > free:
        takes = f"the whole takes {bytes_told(figures.disk)} and {bytes_told(free)} are free"
        yield f"does not fit: {takes}; give --root on another disk"
    copies, passed, fetched = figures.yields.copies, figures.yields.passed.value, figures.yields.fetched
    if fetched.high - fetched.low > _VAGUE * max(fetched.value, 1.0):
        yield "how many pictures there will be cannot be told from so few links; give --forecast-links more"
    if copies.high - copies.low > _VAGUE * max(passed, 1.0):
        yield "how many copies there are cannot be told from so few links; give --forecast-links more"
    for name in figures.unsure:
        parts = figures.details["training"][name]
        few = parts is None or parts["spread"] is None
        why = "so few of its steps were timed" if few else "its steps took so differently"
        yield f"{name}: {why} that their time is not known; give --forecast-steps more"
    for each in steps:
        if each.run is select.run and each.inputs["select"].balance is not None:
            yield "balancing is by how many pairs match an entry, of which a sample knows the common ones alone"
        if each.run is filter.run and any(
            rule.quantity == "shared" for rule in filter.asked_rules(each.inputs["filter"])
        ):
            yield "'shared' counts who else has a caption: in a sample few have, and of the whole the rule takes more"
        if each.run is download.run and each.name in figures.details["asked"]:
            yield from _hosts(each, figures)


def _hosts(fetched: Step, figures: Figures) -> Iterator[str]:
    host, listed = figures.details["busiest_hosts"][fetched.name], figures.details["asked"][fetched.name]["listed"]
    if fetched.inputs["serve"] is None and host["links"] > max(_MANY, _OFTEN * listed):
        yield f"{host['host']} has {host['links']:,} of {listed:,} links and is asked by --fetch.per-host-rate at most"
