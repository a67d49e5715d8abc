"""tokenizer: word pieces made of the captions that are trained on."""

from pathlib import Path

from vlp_core.data.settings import Words
from vlp_core.tracker import Summary, Tracker

VERSION = "1"


def run(*, selection: Path, words: Words, out: Path, tracker: Tracker) -> Summary:
    """Write tokenizer.json, as the `tokenizers` library reads it; equal selections give equal pieces."""
    import pyarrow.compute as pc

    from vlp_core.data.stored import read_selection
    from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces

    captions = pc.list_flatten(read_selection(selection)["captions"])
    tracker.progress(0, len(captions), unit="captions")
    pieces = train_word_pieces((str(caption) for caption in captions), words.pieces)
    pieces.save(str(out / WORDPIECE_FILE))
    return Summary(counts={"pieces": pieces.get_vocab_size(), "captions": len(captions)})
