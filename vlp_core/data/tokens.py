"""Captions to tokens: the byte-pair encoding that open_clip ships."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vlp_core.errors import UserError, nearest

Tokenizer = Callable[[list[str]], Tensor]

_KNOWN = ("name", "context_length", "clean")
_CACHED = 65_536  # captions


def tokenizer_of(config: Mapping[str, Any]) -> Tokenizer:
    """A function from N captions to int64 [N, context_length] by a model's `tokenizer` config.

    Keys: `name` ("bpe"), `context_length` (77), `clean` ("lower"), as in open_clip. A caption's tokens are kept for its
    next turn: the encoder is plain Python. Raises UserError for a tokenizer or a key that is not known.
    """
    from open_clip.tokenizer import SimpleTokenizer

    for key in config:
        if key not in _KNOWN:
            raise UserError(f"tokenizer: unknown key {key!r}{nearest(key, _KNOWN)}")
    if config.get("name", "bpe") != "bpe":
        raise UserError(f"tokenizer: unknown name {config['name']!r}; known: bpe")
    length = int(config.get("context_length", 77))
    encode = SimpleTokenizer(context_length=length, clean=config.get("clean", "lower"))

    @lru_cache(maxsize=_CACHED)
    def row(caption: str) -> Tensor:
        return encode([caption])[0].to(torch.int32)  # half the memory of what is handed out

    def tokenize(captions: list[str]) -> Tensor:
        if not captions:
            return torch.empty(0, length, dtype=torch.int64)
        return torch.stack([row(caption) for caption in captions]).long()

    return tokenize
