from pathlib import Path

import open_clip
import pytest
import torch
from tokenizers import Tokenizer as Pieces
from tokenizers import models

from vlp_core.data.tokens import WORDPIECE_FILE, read_word_pieces, tokenizer_of, train_word_pieces
from vlp_core.errors import UserError

CAPTIONS = ["A red square, left of a Circle.", "", "ein Hund läuft 🐕 &amp; bellt", "word " * 200]


@pytest.mark.parametrize("length", [8, 24, 77])
def test_tokens_are_open_clips_own_also_when_they_come_from_the_cache(length: int) -> None:
    expected = open_clip.tokenize(CAPTIONS, context_length=length)
    whole = open_clip.tokenize(CAPTIONS, context_length=400)
    tokenize = tokenizer_of({"context_length": length})
    for _ in range(2):
        tokens = tokenize(CAPTIONS)
        assert tokens.dtype == torch.int64 and torch.equal(tokens, expected)
    tokens.zero_()
    assert torch.equal(tokenize(CAPTIONS), expected), "what is handed out is the caller's own"
    assert [tokenize.count(caption) for caption in CAPTIONS] == whole.ne(0).sum(dim=1).tolist()


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


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        (WORDPIECE_FILE, "torn", r"tokenizer\.json: no word pieces can be read"),
        (WORDPIECE_FILE, '{"model": {"type": "WordPiece"}}', r"tokenizer\.json: no word pieces can be read"),
        (WORDPIECE_FILE, Pieces(models.BPE()).to_str(), "a BPE is no WordPiece as BERT's"),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na", r"lacks the token \[MASK\]"),
        ("words.md", "a", "no word pieces can be read"),
    ],
)
def test_what_holds_no_word_pieces_is_named(name: str, body: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(body)
    for read in (lambda: tokenizer_of({"name": "wordpiece"}, tmp_path), lambda: read_word_pieces(str(tmp_path))):
        with pytest.raises(UserError, match=says) as error:
            read()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("word", "read"), [("red", ["red", "##s"]), ("Red", ["[UNK]"])], ids=["lower case", "cased"])
def test_word_pieces_of_a_bert_are_read_whole_and_what_they_lack_is_added(
    word: str, read: list[str], tmp_path: Path
) -> None:
    """Of a list, and of a tokenizer.json that would cut and pad by itself."""
    listed = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", word, "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(listed) + "\n")
    expected = {token: number for number, token in enumerate([*listed, "[DEC]", "[ENC]"])}
    one = tokenizer_of({"name": "wordpiece", "context_length": 12}, tmp_path)
    theirs = read_word_pieces(str(tmp_path / "vocab.txt"))
    theirs.enable_truncation(3)
    theirs.enable_padding(length=9)
    theirs.save(str(tmp_path / WORDPIECE_FILE))
    other = tokenizer_of({"name": "wordpiece", "context_length": 12}, tmp_path)
    tokens = [expected[token] for token in ("[CLS]", "a", *read, *read, "[SEP]")]
    for tokenizer in (one, other):
        assert tokenizer.pieces == expected and tokenizer.vocabulary.size == len(expected)
        assert tokenizer(["a reds reds"]).tolist() == [tokens] and tokenizer.count("a reds reds") == len(tokens)
    assert one.digest == other.digest


def test_byte_pairs_of_any_length_are_those_of_a_fixed_one(tmp_path: Path) -> None:
    short = tokenizer_of({"name": "bpe", "context_length": 24, "fixed": False})(CAPTIONS)
    long = tokenizer_of({"name": "bpe", "context_length": 24})(CAPTIONS)
    assert torch.equal(short, long[:, : short.shape[1]]) and not long[:, short.shape[1] :].any()
