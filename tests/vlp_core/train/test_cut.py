"""Captions that are longer than the model reads are counted and said."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.vlp_core.data.folders import write_images, write_selection
from vlp_core.data.samples import Samples
from vlp_core.data.tokens import tokenizer_of
from vlp_core.recipes.clip import CLIP
from vlp_core.recipes.coca import CoCa
from vlp_core.sizes import SystemSizes, config_of
from vlp_core.tracker import Silent
from vlp_core.train import cut

CONTEXT = 10  # tokens: "a b c" has five, with those that begin and end it
SMALL = CLIP(context=CONTEXT)


@dataclass
class Told(Silent):
    metric: list[tuple] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def metrics(self, values, *, step):
        self.metric.append((step, dict(values)))

    def warn(self, text):
        self.lines.append(text)


def told(folder: Path, words: list[int], sizes: SystemSizes) -> Told:
    """What is said of captions of so many words, two a picture."""
    captions = ["a " * count for count in words]
    uids = list(write_images(folder / "images", [len(captions) // 2]))
    pairs = [captions[row : row + 2] for row in range(0, len(captions), 2)]
    samples = Samples.open(folder / "images", write_selection(folder, uids, captions=pairs))
    heard = Told()
    cut.tell_cut(samples.some_captions(cut.COUNTED), sizes, tokenizer_of(config_of(sizes)["tokenizer"]), heard)
    return heard


@pytest.mark.parametrize(
    ("words", "sizes", "share", "says"),
    [
        ([8] * 100, SMALL, None, None),
        ([8] * 198 + [8, 9], SMALL, None, None),
        ([8] * 88 + [9] * 11 + [30], SMALL, 0.12, "longer than the 10 tokens .*cut: --model.context 32 cuts fewer"),
        ([8] * 176 + [9] * 23 + [30], SMALL, 0.12, "longer than the 10 tokens .*cut: --model.context 11 cuts fewer"),
        ([80] * 4, CLIP(context=10, open_clip="RN50"), 1.0, "longer than the 77 tokens .*, and are cut$"),
        ([80] * 4, CoCa(), 1.0, "longer than the 76 tokens .*, and are cut$"),
    ],
)  # fmt: skip
def test_the_share_that_is_cut_and_what_would_read_it(words, sizes, share, says, tmp_path):
    heard = told(tmp_path, words, sizes)
    assert heard.metric == ([] if share is None else [(0, {"captions_cut": share})])
    assert len(heard.lines) == len(heard.metric)
    if share is not None:
        assert heard.lines[0].startswith(f"{100 * share:.0f} % of the captions")
        assert re.search(says, heard.lines[0])


def test_of_many_captions_some_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(cut, "COUNTED", 50)
    ((_, found),) = told(tmp_path, [8, 9] * 100, SMALL).metric
    assert 0.25 < found["captions_cut"] < 0.75 and 50 * found["captions_cut"] == round(50 * found["captions_cut"])
