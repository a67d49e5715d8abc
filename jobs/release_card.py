"""The data card of a release: where it comes from, by which rules, what is in it, and what was left out and why."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.release_shards import Tally, common
from vlp_core.data.releases import CARD_FILE
from vlp_core.files import write_text
from vlp_core.web.settings import Fetch

_MOST = 20
_PURGED = "\n\n## Purged since\n\n"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a data card says that no count shows."""

    about: str = ""
    """A sentence on what the data is and who made it."""
    licence: str = ""
    """By which licence, or on which ground, the pictures may be used."""


def write_card(out: Path, info: Mapping[str, Any], card: Card, fetch: Fetch, tally: Tally) -> None:
    """Markdown in `card.md`; texts of the web stand in it as code."""
    counts: Mapping[str, float] = info["counts"]
    opted = Counter({reason: n for reason, n in tally.reasons.items() if reason.startswith("opted out: ")})
    failed = Counter({name[7:]: int(n) for name, n in counts.items() if name.startswith("failed/")})
    after = "" if info["before"] is None else f", after the release with digest `{info['before'][:16]}`"
    parts = [
        f"# {info['title']}",
        card.about or "Pictures of the web with the texts that lists have for them.",
        f"Made of the lists as they were at {info['as_of']}{after}. Its digest is `{info['digest'][:16]}`.",
        "## What is in it",
        _table(("", "number"), [(name, counts[name]) for name in counts if not name.startswith("failed/")]),
        "## Sources",
        _table(("list", "pictures"), common(tally.sources, _MOST)),
        "## Licences",
        card.licence or "The lists' makers and the pictures' owners hold them; nothing was said of them here.",
        _table(("as the lists say", "pictures"), common(tally.licences, _MOST)) if tally.licences else "",
        "## Rules",
        "\n".join(f"- {rule}" for rule in _rules(fetch)),
        "## Opt-outs",
        _table(("reason", "links"), common(opted, _MOST)) if opted else "No link was left out for one.",
        "## Links without a picture",
        _table(("class", "links"), common(failed, _MOST)) if failed else "None.",
    ]
    write_text(out / CARD_FILE, "\n\n".join(part for part in parts if part) + "\n")


def purged_card(card: str, pictures: int) -> str:
    """A card that says how many pictures of the release were purged, in all."""
    made = card.split(_PURGED)[0].rstrip("\n")
    return f"{made}{_PURGED}{pictures:,} pictures, which the counts above have still.\n"


def _rules(fetch: Fetch) -> Iterable[str]:
    yield f"robots.txt {'is' if fetch.honour_robots else 'is not'} honoured"
    yield f"X-Robots-Tag and tdm-reservation {'are' if fetch.honour_opt_out else 'are not'} honoured"
    yield f"a body has at most {fetch.max_bytes:,} bytes, a picture at most {fetch.max_pixels:,} pixels"
    yield f"pictures become {fetch.image_size} pixels ({fetch.resize_mode}), JPEG quality {fetch.encode_quality}"
    yield "a picture that changed since is taken where it looks as before, else it waits in quarantine.parquet"
    yield "what was taken down (url, host or sha256) is in this release and all later ones no more"


def _table(head: tuple[str, str], rows: Iterable[tuple[str, float]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {_code(str(name))} | {int(value):,} |" for name, value in rows)])


def _code(text: str) -> str:
    clean = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{clean[:200]}`"
