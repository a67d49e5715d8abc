from pathlib import Path

import open_clip
import pytest
import torch

from vlp_core.data.tokens import WORDPIECE_FILE, tokenizer_of, train_word_pieces
from vlp_core.errors import UserError

CAPTIONS = ["A red square, left of a Circle.", "", "ein Hund läuft 🐕 &amp; bellt", "word " * 200]


@pytest.mark.parametrize("length", [8, 24, 77])
def test_tokens_are_open_clips_own_also_when_they_come_from_the_cache(length: int) -> None:
    expected = open_clip.tokenize(CAPTIONS, context_length=length)
    tokenize = tokenizer_of({"context_length": length})
    for _ in range(2):
        tokens = tokenize(CAPTIONS)
        assert tokens.dtype == torch.int64 and torch.equal(tokens, expected)
    tokens.zero_()
    assert torch.equal(tokenize(CAPTIONS), expected), "what is handed out is the caller's own"


def test_no_captions_are_no_tokens() -> None:
    assert tokenizer_of({"context_length": 24})([]).shape == (0, 24)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ({"contxt_length": 8}, "context_length"),
        ({"name": "wordpeace"}, "known: bpe, wordpiece"),
        ({"name": "wordpiece"}, "give --tokenizer"),
    ],
)
def test_unknown_tokenizers_are_refused(config: dict, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        tokenizer_of(config)


WORDS = ["a red circle", "two red squares", "circles, and a square"] * 9


def pieces_in(folder: Path, captions: list[str] = WORDS, size: int = 60) -> Path:
    train_word_pieces(captions, size).save(str(folder / WORDPIECE_FILE))
    return folder


def test_equal_captions_give_equal_word_pieces(tmp_path: Path) -> None:
    files = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        files.append((pieces_in(tmp_path / str(number)) / WORDPIECE_FILE).read_bytes())
    assert len(set(files)) == 1


def test_texts_are_padded_to_the_longest_of_them_and_come_back_as_they_were(tmp_path: Path) -> None:
    read = tokenizer_of({"name": "wordpiece", "context_length": 12}, pieces_in(tmp_path))
    known = read.vocabulary
    tokens = read(["a red circle", "squares"])
    assert [read.text(row) for row in tokens.tolist()] == ["a red circle", "squares"]
    assert tokens[:, 0].tolist() == [known.start] * 2 and (tokens == known.end).sum(dim=1).tolist() == [1, 1]
    assert tokens[0, -1] == known.end and tokens[1, -1] == known.pad, "no longer than it has to be"
    assert read(["circle " * 50]).shape == (1, 12) and read(["circle " * 50])[0, -1] == known.end
    pieces = read(["circles"])[0, 1:-1].tolist()
    assert [piece in known.continuing for piece in pieces] == [False] + [True] * (len(pieces) - 1)
    assert known.unknown in read(["\N{SNOWMAN}"])[0]


@pytest.mark.parametrize("body", ["torn", '{"model": {"type": "WordPiece"}}'])
def test_what_holds_no_word_pieces_is_named(body: str, tmp_path: Path) -> None:
    (tmp_path / WORDPIECE_FILE).write_text(body)
    with pytest.raises(UserError, match=r"tokenizer\.json: "):
        tokenizer_of({"name": "wordpiece"}, tmp_path)


def test_byte_pairs_of_any_length_are_those_of_a_fixed_one(tmp_path: Path) -> None:
    short = tokenizer_of({"name": "bpe", "context_length": 24, "fixed": False})(CAPTIONS)
    long = tokenizer_of({"name": "bpe", "context_length": 24})(CAPTIONS)
    assert torch.equal(short, long[:, : short.shape[1]]) and not long[:, short.shape[1] :].any()
