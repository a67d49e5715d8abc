"""What changed between two canonical values, in words that can be read whole."""

import re
from collections.abc import Mapping
from typing import Any

from vlp_core.identity import canonical_json

_MOST = 8  # of what a list gained or lost
_DIGEST = re.compile(r"[0-9a-f]{40,}")


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """One short text for each place where two canonical values differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if "content" in after and before.get("step") == after.get("step"):
            return [] if before == after else [f"{after['step']} changed"]
        keys = sorted({*before, *after})
        return [
            text
            for key in keys
            for text in differences(before.get(key), after.get(key), f"{where}.{key}" if where else str(key))
        ]
    if before == after:
        return []
    if isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            return [f"{where}: {_gained_and_lost(before, after)}"]
        pairs = enumerate(zip(before, after, strict=True))
        return [text for i, (old, new) in pairs for text in differences(old, new, f"{where}[{i}]")]
    return [f"{where}: {_told(before)} → {_told(after)}"]


def _gained_and_lost(before: list[Any], after: list[Any]) -> str:
    texts = [f"+ {_told(item)}" for item in after if item not in before]
    texts += [f"- {_told(item)}" for item in before if item not in after]
    if not texts:
        return f"{len(before)} → {len(after)} of the same"
    texts = list(dict.fromkeys(texts))
    more = [f"and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return ", ".join([*texts[:_MOST], *more])


def _told(value: Any) -> str:
    """A value in words: a result by its step, settings as they are given, digests by how they begin."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value[:12] if _DIGEST.fullmatch(value) else canonical_json(value)
    if isinstance(value, Mapping) and "content" in value:
        return str(value["step"])
    if isinstance(value, Mapping):
        told = (f"{key} {_told(item)}" for key, item in value.items() if key != "settings" and item is not None)
        return f"({', '.join(told)})"
    if isinstance(value, list):
        few = [_told(item) for item in value[:_MOST]] + [f"and {len(value) - _MOST} more"] * (len(value) > _MOST)
        return f"({', '.join(few)})"
    return canonical_json(value)
