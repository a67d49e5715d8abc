"""Zero-shot prompts: where they come from, and what they say."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlp_core.curation.prompts import BUILT_IN, Prompt, read_prompts
from vlp_core.errors import UserError


def test_a_probability_is_the_softmax_over_the_two_lists() -> None:
    """However many texts each has, and at the model's own scale."""
    yes, no = np.eye(3, dtype=np.float32)[[0, 0, 0]], np.eye(3, dtype=np.float32)[[1]]
    pictures = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.8, 0.6, 0]], np.float32)
    found = Prompt(name="unsafe", yes=("a",) * 3, no=("b",)).probability(pictures, yes, no, 10.0)
    expected = [np.exp(10 * p[0]) / (np.exp(10 * p[0]) + np.exp(10 * p[1])) for p in pictures]
    assert found == pytest.approx(expected, abs=1e-6) and found.dtype == np.float32


def test_a_file_takes_the_place_of_the_prompts_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"watermark": {"yes": ["a stamp"], "no": ["no stamp", "nothing"]}}))
    unsafe, watermark, quality = read_prompts(path)
    assert (unsafe, quality) == (BUILT_IN[0], BUILT_IN[2]) and read_prompts(None) == BUILT_IN
    assert watermark == Prompt(name="watermark", yes=("a stamp",), no=("no stamp", "nothing"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("{", "not readable as JSON"),
        ("[]", "not a JSON object"),
        ('{"watermarks": {}}', "did you mean 'watermark'"),
        ('{"unsafe": {"yes": ["x"]}}', "unsafe needs 'no'"),
        ('{"unsafe": {"yes": "x", "no": ["y"]}}', "unsafe needs 'yes'"),
        ('{"unsafe": {"yes": ["x", " "], "no": ["y"]}}', "unsafe needs 'yes'"),
    ],
)
def test_a_file_that_holds_no_prompts_is_one_line(content: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as refused:
        read_prompts(path)
    assert says in str(refused.value) and "\n" not in str(refused.value)
