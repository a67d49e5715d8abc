"""Captions to tokens: the byte pairs that open_clip ships, or word pieces of the corpus itself or of a BERT."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlp_core.errors import UserError, first_line, nearest
from vlp_core.files import write_bytes
from vlp_core.identity import sha256_of
from vlp_core.vocabulary import Vocabulary

WORDPIECE_FILE, LIST_FILE = "tokenizer.json", "vocab.txt"
PAD, UNKNOWN, START, END, MASK, DECODE, ENCODE = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"
NEEDED = (PAD, UNKNOWN, START, END, MASK)
SPECIAL = (*NEEDED, DECODE, ENCODE)
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
        kept: str | None = None,
    ) -> None:
        """`encode` gives all tokens of a caption, its start and end among them; `kept` is the tokenizer.json of one
        that has word pieces."""
        self.vocabulary, self._encode, self._decode, self._fixed, self._kept = vocabulary, encode, decode, fixed, kept
        self._row = lru_cache(_CACHED)(lambda caption: torch.tensor(self._cut(encode(caption)), dtype=torch.int32))

    def __call__(self, captions: list[str]) -> Tensor:
        least = [torch.empty(self.vocabulary.length, dtype=torch.int32)] if self._fixed else []
        if not captions:
            return torch.empty(0, len(least[0]) if least else 0, dtype=torch.int64)
        rows = [self._row(caption) for caption in captions] + least
        return pad_sequence(rows, batch_first=True, padding_value=self.vocabulary.pad)[: len(captions)].long()

    def _cut(self, tokens: list[int]) -> list[int]:
        length = self.vocabulary.length
        return tokens if len(tokens) <= length else [*tokens[: length - 1], self.vocabulary.end]

    def count(self, caption: str) -> int:
        """The tokens of a caption before it is cut, its start and end among them."""
        return len(self._encode(caption))

    @property
    def digest(self) -> str:
        """Of its pieces; the same for all that ship with open_clip."""
        return sha256_of(self._kept.encode()) if self._kept else "bpe"

    @property
    def pieces(self) -> dict[str, int] | None:
        """The number of each word piece, where it has those."""
        return _numbers(self._kept) if self._kept else None

    def save(self, folder: Path) -> None:
        """Put what it is made of beside a finished model, if it is made of something."""
        if self._kept is not None:
            write_bytes(folder / WORDPIECE_FILE, self._kept.encode())

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
                f"word pieces are needed; give --tokenizer, a {WORDPIECE_FILE}, a {LIST_FILE} or a folder with either"
            )
        return word_pieces(folder, length)
    raise UserError(f"tokenizer: unknown name {name!r}; known: bpe, wordpiece")


def _byte_pairs(length: int, clean: str, *, fixed: bool) -> Tokenizer:
    from open_clip.tokenizer import SimpleTokenizer

    pairs = SimpleTokenizer(context_length=length, clean=clean)
    start, end = pairs.sot_token_id, pairs.eot_token_id
    vocabulary = Vocabulary(
        size=len(pairs.encoder), pad=0, start=start, end=end, length=length, special=frozenset({start, end})
    )

    def encode(caption: str) -> list[int]:
        return [start, *pairs.encode(caption), end]

    return Tokenizer(encode, lambda tokens: str(pairs.decode(tokens)).strip(), vocabulary, fixed=fixed)


def word_pieces(path: Path, length: int) -> Tokenizer:
    """WordPiece (Schuster and Nakajima, 2012), see `read_word_pieces`; UserError where there is none."""
    pieces = _completed(_read(path), str(path))
    words = pieces.get_vocab()
    ids = {token: words[token] for token in SPECIAL}
    vocabulary = Vocabulary(
        size=max(words.values()) + 1,
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
        return [vocabulary.start, *pieces.encode(caption, add_special_tokens=False).ids, vocabulary.end]

    kept = pieces.to_str(pretty=True)
    return Tokenizer(encode, lambda tokens: str(pieces.decode(tokens)), vocabulary, fixed=False, kept=kept)


def word_numbers(file: Path) -> dict[str, int]:
    """The number of each token in a tokenizer.json, those included that were added to its pieces."""
    return _numbers(file.read_text(encoding="utf-8"))


def _numbers(kept: str) -> dict[str, int]:
    whole = json.loads(kept)
    return {**whole["model"]["vocab"], **{token["content"]: token["id"] for token in whole.get("added_tokens", [])}}


def read_word_pieces(source: str) -> Any:
    """A `tokenizers.Tokenizer` of word pieces that were made elsewhere, with what they lack of SPECIAL at the end.

    source: a tokenizer.json, a BERT's vocab.txt, a folder that has either, or, where there is no such path, the name of
        a model on the hub, which is asked then. Raises UserError for what is no WordPiece or lacks a token of NEEDED.
    """
    from tokenizers import Tokenizer as Pieces

    if Path(source).exists():
        return _completed(_read(Path(source)), source)
    try:
        pieces = Pieces.from_pretrained(source)
    except Exception as error:  # of the hub's client, of the network, of the library
        raise UserError(
            f"{source}: no such file or folder, and cannot be fetched from the hub ({first_line(error)}); give a "
            f"folder that has {WORDPIECE_FILE} or {LIST_FILE}"
        ) from error
    return _completed(pieces, source)


def _read(path: Path) -> Any:
    from tokenizers import Tokenizer as Pieces
    from tokenizers import models

    if path.is_dir():
        path = next((path / name for name in (WORDPIECE_FILE, LIST_FILE) if (path / name).is_file()), path)
    try:
        if path.suffix != Path(LIST_FILE).suffix:
            return Pieces.from_file(str(path))
        words = models.WordPiece.read_file(str(path))
    except Exception as error:  # the library has one kind for everything
        raise UserError(
            f"{path}: no word pieces can be read from it ({first_line(error)}); give a {WORDPIECE_FILE} or a "
            f"{LIST_FILE}, or make them with the tokenizer step"
        ) from error
    capitals = any(word.isascii() and word != word.lower() for word in words if not word.startswith("["))
    return _of_words(words, lower=not capitals)


def _completed(pieces: Any, source: str) -> Any:
    from tokenizers import models

    if not isinstance(pieces.model, models.WordPiece) or pieces.model.continuing_subword_prefix != CONTINUES:
        raise UserError(f"{source}: a {type(pieces.model).__name__} is no WordPiece as BERT's; give one that is")
    lacking = [token for token in NEEDED if token not in pieces.get_vocab()]
    if lacking:
        raise UserError(f"{source}: lacks the token {lacking[0]}; give word pieces that have it, as a BERT's")
    pieces.no_truncation()
    pieces.no_padding()
    pieces.add_special_tokens(list(SPECIAL))
    return pieces


def _of_words(words: Mapping[str, int], *, lower: bool) -> Any:
    """A `tokenizers.Tokenizer` of these pieces as BERT has it."""
    from tokenizers import Tokenizer as Pieces
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    pieces = Pieces(models.WordPiece(vocab=dict(words), unk_token=UNKNOWN, continuing_subword_prefix=CONTINUES))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=lower)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece(prefix=CONTINUES)
    return pieces


def train_word_pieces(captions: Iterable[str], size: int) -> Any:
    """A `tokenizers.Tokenizer` of at most `size` word pieces, lower case; equal captions give equal pieces."""
    from tokenizers import Tokenizer as Pieces
    from tokenizers import models, normalizers, pre_tokenizers, trainers

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
    pieces = _of_words(trained.get_vocab(), lower=True)
    pieces.add_special_tokens(list(SPECIAL))
    return pieces
