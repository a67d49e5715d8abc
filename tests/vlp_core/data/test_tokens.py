import open_clip
import pytest
import torch

from vlp_core.data.tokens import tokenizer_of
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
    ("config", "hint"), [({"contxt_length": 8}, "context_length"), ({"name": "wordpiece"}, "known: bpe")]
)
def test_unknown_tokenizers_are_refused(config: dict, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        tokenizer_of(config)
