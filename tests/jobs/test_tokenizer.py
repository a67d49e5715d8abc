"""Word pieces are made of the captions that were selected."""

from pathlib import Path

import huggingface_hub
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


def test_those_of_a_model_are_read_out_of_its_folder_or_asked_of_the_hub_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched once lies in the hub's cache, from which it is read here."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def made(start: str) -> bytes:
        summary = tokenizer.run(selection=None, words=Words(start=start), out=tmp_path, tracker=Silent())
        assert summary.counts == {"pieces": 8}
        return (tmp_path / "tokenizer.json").read_bytes()

    with pytest.raises(UserError, match=r"^some/bert: no such file or folder, and cannot be fetched from the hub"):
        made("some/bert")
    kept = tmp_path / "models--some--bert"
    folder = kept / "snapshots" / "one"
    folder.mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("one")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na")
    body = made(str(tmp_path / "vocab.txt"))
    (folder / "tokenizer.json").write_bytes(body)
    assert made("some/bert") == made(str(folder)) == body


def test_pieces_that_cannot_be_read_are_refused_by_the_plan(tmp_path: Path) -> None:
    for words, reads, says in [
        (Words(start=str(tmp_path)), "wordpiece", "no word pieces can be read"),
        (Words(start="some/bert"), "bpe", r"--words\.start: this recipe reads open_clip's byte pairs"),
    ]:
        with pytest.raises(UserError, match=says):
            tokenizer.check(words, reads)
    tokenizer.check(Words(start="some/bert"), "wordpiece")


def test_too_few_pieces_are_refused() -> None:
    with pytest.raises(UserError, match=r"--words\.pieces 10: give 100 or more"):
        Words(pieces=10)
