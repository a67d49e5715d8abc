"""What is drawn agrees with what is written beside it."""

import re

import numpy as np
import pytest

from tests.vlp_core.report.samples import sample_with
from vlp_core.curation.rules import parse_rules
from vlp_core.report.drift import shifts_of
from vlp_core.report.plots import shift_view, sweep_view, values_plot
from vlp_core.report.standing import Standing
from vlp_core.report.svg import HEIGHT


@pytest.mark.parametrize("rule", ["words>2", "words>=7", "words<9", "words>1"])
def test_a_curve_goes_through_what_its_table_tells(rule: str) -> None:
    words = np.random.default_rng(0).integers(2, 40, 300)
    rules = parse_rules([rule])
    sample = sample_with([1] * 300, {"words": words}, rules)
    found = Standing(sample, rules).what_if(0)
    sweep = sweep_view(found, 1.0, int(sample.selected.sum()))
    heights = [float(y) for y in re.findall(r",([\d.]+)", re.findall(r'points="([^"]+)"', str(sweep.curve))[0])]
    told = [row for row in sweep.rows if row.label != "any"]
    assert [row.kept for row in told if row.now] == [sample.selected.sum()]
    highest = max(*(row.kept for row in told), *(found.kept(value) for value in found.best))
    floor, top = HEIGHT - 18, 16
    for row in told:
        assert min(abs(floor - row.kept / highest * (floor - top) - y) for y in heights) < 0.06, row


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(400, 128.0), "All are 128."),
        (np.array([128.0] * 399 + [5e6]), "99.7 % are 128, the others 5 M."),
        (np.array([0.5] * 200 + [0.75] * 200), None),
    ],
    ids=["one", "nearly one", "two"],
)
def test_of_one_value_there_is_a_sentence_and_no_drawing(values: np.ndarray, said: str | None) -> None:
    rules = parse_rules(["side>=0.1"])
    sample = sample_with([1] * 400, {"side": values}, rules)
    plot = values_plot(sample, "side", rules, 1.0)
    shift = next(shift_view(shift) for shift in shifts_of(sample, sample) if shift.quantity == "side")
    sweep = sweep_view(Standing(sample, rules).what_if(0), 1.0, 400)
    assert plot is not None
    if said is None:
        assert plot.drawing and shift.drawing and sweep.curve and not sweep.said + shift.said
    else:
        assert (plot.drawing, shift.drawing, sweep.curve) == ("", "", None)
        assert plot.said == sweep.said == said and shift.said == f"{said[:-1]}, here and there."
        assert sweep.rows
