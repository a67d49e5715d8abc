"""Captions to tokens: the byte pairs that open_clip ships, or word pieces of the corpus itself."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlp_core.errors import UserError, nearest
from vlp_core.files import write_bytes
from vlp_core.identity import sha256_of_file
from vlp_core.vocabulary import Vocabulary

WORDPIECE_FILE = "tokenizer.json"
PAD, UNKNOWN, START, END, MASK, DECODE, ENCODE = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"
SPECIAL = (PAD, UNKNOWN, START, END, MASK, DECODE, ENCODE)
CONTINUES = "##"

_KNOWN = ("name", "context_length", "clean", "fixed")
_CACHED = 65_536  # captions


class Tokenizer:
    """N captions -> int64 [N, L], and what a model has to know of the tokens.

    L is the longest of the captions, or the whole context for a model that was made for that (`fixed`). A caption's
    tokens are kept for its next turn: encoding is slow.
    """

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int]], str],
        vocabulary: Vocabulary,
        *,
        fixed: bool,
        file: Path | None = None,
    ) -> None:
        """`file`: where its pieces are kept, for one that is made of a corpus."""
        self.vocabulary, self._decode, self._fixed, self._file = vocabulary, decode, fixed, file
        self._row = lru_cache(_CACHED)(lambda caption: torch.tensor(encode(caption), dtype=torch.int32))

    def __call__(self, captions: list[str]) -> Tensor:
        least = [torch.empty(self.vocabulary.length, dtype=torch.int32)] if self._fixed else []
        if not captions:
            return torch.empty(0, len(least[0]) if least else 0, dtype=torch.int64)
        rows = [self._row(caption) for caption in captions] + least
        return pad_sequence(rows, batch_first=True, padding_value=self.vocabulary.pad)[: len(captions)].long()

    @property
    def digest(self) -> str:
        """Of its pieces; the same for all that ship with open_clip."""
        return sha256_of_file(self._file) if self._file else "bpe"

    @property
    def pieces(self) -> dict[str, int] | None:
        """The number of each word piece, where it has those."""
        return word_numbers(self._file) if self._file else None

    def save(self, folder: Path) -> None:
        """Put what it is made of beside a finished model, if it is made of something."""
        if self._file is not None and self._file != folder / WORDPIECE_FILE:
            write_bytes(folder / WORDPIECE_FILE, self._file.read_bytes())

    def text(self, tokens: list[int]) -> str:
        """The words of a text, up to its end, without what is no word."""
        words = tokens[: tokens.index(self.vocabulary.end)] if self.vocabulary.end in tokens else tokens
        return self._decode([token for token in words if token not in self.vocabulary.special])


def tokenizer_of(config: Mapping[str, Any], folder: Path | None = None) -> Tokenizer:
    """The tokenizer that a model's `tokenizer` config names.

    Keys: `name` ("bpe" or "wordpiece"), `context_length` (77), `clean` ("lower", for bpe as in open_clip) and `fixed`
    (True: every text is padded to the context). `folder` holds the pieces of "wordpiece". Raises UserError for a
    tokenizer or a key that is not known, and pieces that are not there.
    """
    for key in config:
        if key not in _KNOWN:
            raise UserError(f"tokenizer: unknown key {key!r}{nearest(key, _KNOWN)}")
    name, length = config.get("name", "bpe"), int(config.get("context_length", 77))
    if name == "bpe":
        return _byte_pairs(length, config.get("clean", "lower"), fixed=bool(config.get("fixed", True)))
    if name == "wordpiece":
        if folder is None:
            raise UserError(
                "word pieces are made from a corpus; give --tokenizer, a tokenizer.json or the folder that holds one"
            )
        return word_pieces(folder / WORDPIECE_FILE if folder.is_dir() else folder, length)
    raise UserError(f"tokenizer: unknown name {name!r}; known: bpe, wordpiece")


def _byte_pairs(length: int, clean: str, *, fixed: bool) -> Tokenizer:
    from open_clip.tokenizer import SimpleTokenizer

    pairs = SimpleTokenizer(context_length=length, clean=clean)
    start, end = pairs.sot_token_id, pairs.eot_token_id
    vocabulary = Vocabulary(
        size=len(pairs.encoder), pad=0, start=start, end=end, length=length, special=frozenset({start, end})
    )

    def encode(caption: str) -> list[int]:
        row = pairs([caption])[0].tolist()
        return row[: row.index(end) + 1]

    return Tokenizer(encode, lambda tokens: str(pairs.decode(tokens)).strip(), vocabulary, fixed=fixed)


def word_pieces(file: Path, length: int) -> Tokenizer:
    """WordPiece (Schuster and Nakajima, 2012) as the `tokenizers` library keeps it; UserError for another file."""
    import tokenizers

    try:
        pieces = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library has one kind for everything
        raise UserError(f"{file}: no word pieces can be read from it ({error}); make them again") from error
    words = pieces.get_vocab()
    lacking = [token for token in SPECIAL if token not in words]
    if lacking:
        raise UserError(f"{file}: lacks the token {lacking[0]}; make the word pieces with the tokenizer step")
    ids = {token: words[token] for token in SPECIAL}
    vocabulary = Vocabulary(
        size=len(words),
        pad=ids[PAD],
        start=ids[START],
        end=ids[END],
        unknown=ids[UNKNOWN],
        mask=ids[MASK],
        decode=ids[DECODE],
        encode=ids[ENCODE],
        length=length,
        special=frozenset(ids.values()),
        continuing=frozenset(number for word, number in words.items() if word.startswith(CONTINUES)),
    )

    def encode(caption: str) -> list[int]:
        inside = pieces.encode(caption, add_special_tokens=False).ids[: length - 2]
        return [vocabulary.start, *inside, vocabulary.end]

    return Tokenizer(encode, lambda tokens: str(pieces.decode(tokens)), vocabulary, fixed=False, file=file)


def word_numbers(file: Path) -> dict[str, int]:
    """The number of each token in a tokenizer.json, those included that were added to its pieces."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return {**kept["model"]["vocab"], **{token["content"]: token["id"] for token in kept.get("added_tokens", [])}}


def train_word_pieces(captions: Iterable[str], size: int) -> Any:
    """A `tokenizers.Tokenizer` of at most `size` word pieces, lower case; equal captions give equal pieces."""
    from tokenizers import Tokenizer as Pieces
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    captions = list(captions)
    normaliser = normalizers.BertNormalizer(lowercase=True)
    letters = sorted({letter for caption in captions for letter in normaliser.normalize_str(caption)} - {" "})
    # Pairs that are equally frequent are told apart by their numbers, and letters get theirs in the order of a hash
    # table unless they have one before.
    numbered = [*SPECIAL, *(f"{CONTINUES}{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=numbered,
        initial_alphabet=letters,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    trained = Pieces(models.WordPiece(unk_token=UNKNOWN, continuing_subword_prefix=CONTINUES))
    trained.normalizer, trained.pre_tokenizer = normaliser, pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(captions, trainer)
    words = models.WordPiece(vocab=trained.get_vocab(), unk_token=UNKNOWN, continuing_subword_prefix=CONTINUES)
    pieces = Pieces(words)
    pieces.normalizer, pieces.pre_tokenizer = normaliser, trained.pre_tokenizer
    pieces.decoder = decoders.WordPiece(prefix=CONTINUES)
    pieces.add_special_tokens(list(SPECIAL))
    return pieces
