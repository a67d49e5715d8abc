"""tokenizer: word pieces made of the captions that are trained on, or those of a model that exists."""

from pathlib import Path
from typing import Any

from vlp_core.data.settings import Words
from vlp_core.errors import UserError
from vlp_core.tracker import Summary, Tracker

VERSION = "1"


def run(*, selection: Path | None, words: Words, out: Path, tracker: Tracker) -> Summary:
    """Write tokenizer.json, as the `tokenizers` library reads it; equal selections give equal pieces.

    No selection is read where `words` names pieces that exist; UserError where there are none that recipes can read.
    """
    from vlp_core.data.tokens import WORDPIECE_FILE, read_word_pieces

    counts: dict[str, int] = {}
    if words.start is not None:
        pieces = read_word_pieces(words.start)
    else:
        assert selection is not None, "pieces are made of captions"
        pieces, counts["captions"] = _trained(selection, words, tracker)
    pieces.save(str(out / WORDPIECE_FILE))
    return Summary(counts={"pieces": pieces.get_vocab_size(), **counts})


def _trained(selection: Path, words: Words, tracker: Tracker) -> tuple[Any, int]:
    import pyarrow.compute as pc

    from vlp_core.data.stored import read_selection
    from vlp_core.data.tokens import train_word_pieces

    captions = pc.list_flatten(read_selection(selection)["captions"])
    tracker.progress(0, len(captions), unit="captions")
    return train_word_pieces((str(caption) for caption in captions), words.pieces), len(captions)


def check(words: Words, reads: str) -> None:
    """UserError where pieces are named that cannot be read, or for a recipe that reads others; the hub is not asked."""
    if words.start is None:
        return
    if reads != "wordpiece":
        raise UserError("--words.start: this recipe reads open_clip's byte pairs; leave it out")
    if Path(words.start).exists():
        from vlp_core.data.tokens import read_word_pieces

        read_word_pieces(words.start)
