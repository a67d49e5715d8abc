"""Which selections a model was trained on: its own, and those that what it was started from was trained on.

`_TRAINED_ON.json` beside the weights, in a model folder and in its export, has their digests, the nearest first; so has
the state of a checkpoint. config.json, which decides what a model is called, has them not: a run without a start gives
what it ever gave.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from vlp_core.data.layout import SELECTION_FILE, SUMMARY_FILE
from vlp_core.files import write_text
from vlp_core.settings import named_path
from vlp_core.train.checkpoint import FOLDER, STATE_FILE

FILE = "_TRAINED_ON.json"
SELECTIONS = "selections"
SELECTION_TAG, START_TAG = "selection_digest", "start_selections"
"""What a registered version has as tags: the digest of its own selection, and those of its start's."""

_RUN_FILE, _CARD_FILE = "_RUN.json", "README.md"
_CARD_SAYS = re.compile(r"^\| digest \| ([0-9a-f]{64}) \|$", re.MULTILINE)
_DIGESTS_A_TAG = 75  # 4,874 characters: some stores of MLflow take 5,000, and no more


def write_selections(folder: Path, digests: Sequence[str]) -> None:
    """Nothing where none is known."""
    if digests:
        write_text(folder / FILE, json.dumps({SELECTIONS: list(digests)}) + "\n")


def digest_of_selection(selection: Path | None) -> str | None:
    """What the stage that made a selection (a folder, or the file in it) calls it; None for another's."""
    if selection is None:
        return None
    folder = selection.parent if selection.name == SELECTION_FILE else selection
    digest = _read(folder / SUMMARY_FILE).get("digest")
    return digest if isinstance(digest, str) else None


def selections_of_start(start: Sequence[str]) -> tuple[str, ...]:
    """Of all that a start names, as far as is known: of what other libraries have trained nothing is."""
    paths = (named_path(word)[1] for word in start)
    return distinct(digest for path in paths if path is not None for digest in selections_of(path))


def selections_of(model: Path) -> tuple[str, ...]:
    """The digests of a model folder, an export, a checkpoint or a folder with some, or of a file in one of them.

    What was made before it said so itself says of its own selection alone: a result by the steps that it was made of,
    an export by its card.
    """
    folder = (model if model.is_dir() else model.parent).resolve()
    return next(filter(None, (find(folder) for find in (_beside, _of_checkpoint, _of_result, _of_card))), ())


def distinct(digests: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digest for digest in digests if digest))


def start_tags(digests: Sequence[str]) -> dict[str, str]:
    """The digests of a start's selections as so many tags as they need."""
    parts = (digests[begin : begin + _DIGESTS_A_TAG] for begin in range(0, len(digests), _DIGESTS_A_TAG))
    return dict(zip(_start_tags(), map(" ".join, parts), strict=False))


def selections_in(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The digests that a version's tags have: of its own selection, then of its start's."""
    started = takewhile(bool, (tags.get(tag, "") for tag in _start_tags()))
    return distinct([tags.get(SELECTION_TAG), *" ".join(started).split()])


def _start_tags() -> Iterator[str]:
    yield START_TAG
    yield from (f"{START_TAG}.{number}" for number in count(2))


def _beside(folder: Path) -> tuple[str, ...]:
    return _listed(folder / FILE)


def _of_checkpoint(folder: Path) -> tuple[str, ...]:
    states = [folder / STATE_FILE, *sorted(folder.glob(f"{FOLDER}/step-*/{STATE_FILE}"), reverse=True)]
    return next(filter(None, map(_listed, states)), ())


def _of_result(folder: Path) -> tuple[str, ...]:
    run = folder.parents[1] if folder.parent.name == FOLDER else folder
    places = _read(run / _RUN_FILE).get("inputs")
    made_of = places if isinstance(places, list) else []
    return distinct(digest_of_selection(run.parents[1] / str(place)) for place in made_of)


def _of_card(folder: Path) -> tuple[str, ...]:
    try:
        return distinct(_CARD_SAYS.findall((folder / _CARD_FILE).read_text()))
    except (OSError, ValueError):
        return ()


def _listed(file: Path) -> tuple[str, ...]:
    digests = _read(file).get(SELECTIONS)
    return distinct(map(str, digests)) if isinstance(digests, list) else ()


def _read(file: Path) -> dict[str, Any]:
    """What is no JSON object says nothing."""
    try:
        said = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
