"""Word pieces are made of the captions that were selected."""

from pathlib import Path

import pytest

from jobs import tokenizer
from tests.vlp_core.data.folders import write_selection
from vlp_core.data.settings import Words
from vlp_core.data.tokens import tokenizer_of
from vlp_core.errors import UserError
from vlp_core.tracker import Silent

CAPTIONS = [["a red circle", "one red circle"], ["two squares"], ["a striped square"]]


def test_they_read_what_they_were_made_of(tmp_path: Path) -> None:
    selection = write_selection(tmp_path / "selection", ["a", "b", "c"], captions=CAPTIONS)
    bodies = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        summary = tokenizer.run(selection=selection, words=Words(pieces=150), out=tmp_path / name, tracker=Silent())
        bodies.append((tmp_path / name / "tokenizer.json").read_bytes())
    assert bodies[0] == bodies[1]
    read = tokenizer_of({"name": "wordpiece", "context_length": 16}, tmp_path / "one")
    assert summary.counts == {"pieces": read.vocabulary.size, "captions": 4}
    assert [read.text(row) for row in read(CAPTIONS[0]).tolist()] == CAPTIONS[0]


def test_too_few_pieces_are_refused() -> None:
    with pytest.raises(UserError, match=r"--words\.pieces 10: give 100 or more"):
        Words(pieces=10)
