"""A link's ledger from release to release: attempts add up, the first stays, a body stays known by its name."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from vlp_core.data.layout import FINAL, LEDGER, SUCCESS, UNCHANGED
from vlp_core.data.ledgers import merged


def ledger(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"uid": str(number), **row} for number, row in enumerate(rows)], schema=LEDGER)


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def test_what_a_link_said_is_merged_with_what_it_said_before() -> None:
    old = {"attempts": 3, "first_asked": day(1), "last_asked": day(2), "outcome": SUCCESS, "etag": "e", "sha256": "s"}
    new = {"attempts": 1, "first_asked": day(9), "last_asked": day(9)}
    found = merged(
        ledger(
            {**new, "outcome": SUCCESS, "sha256": "t"},
            {**new, "outcome": UNCHANGED, "etag": "f"},
            {**new, "outcome": FINAL, "reason": "http 404"},
            {**new, "outcome": SUCCESS, "etag": "n", "sha256": "n"},
        ),
        ledger(old, old, old, {}),
    ).to_pylist()
    assert [row["attempts"] for row in found] == [4, 4, 4, 1]
    assert [row["first_asked"] for row in found] == [day(1), day(1), day(1), day(9)]
    assert {row["last_asked"] for row in found} == {day(9)}
    assert [(row["etag"], row["sha256"]) for row in found] == [(None, "t"), ("f", "s"), ("e", "s"), ("n", "n")]
    assert [row["outcome"] for row in found] == [SUCCESS, UNCHANGED, FINAL, SUCCESS]
