"""How many rows of the whole are left after each stage, by what is left of the sample."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.passed import Passed
from jobs.select import REMOVED_FILE
from vlp_core.curation.settings import Select
from vlp_core.curation.unseen import Estimate, copies_of_whole
from vlp_core.data.layout import COPIES, SUCCESS, read_shards
from vlp_core.data.stored import read_selection

_Z = 1.96
SELECTED = frozenset({"passed", "copies", "evaluation", "selected", "captions"})
"""What a selection yields, beyond what is fetched."""


@dataclass(frozen=True, kw_only=True)
class Yields:
    """What comes out of the stages, in rows, bytes and captions, for the whole or any part of it."""

    links: Estimate
    fetched: Estimate
    transfer: Estimate
    """Bytes of the pictures' bodies as they came."""
    passed: Estimate
    copies: Estimate
    evaluation: Estimate
    selected: Estimate
    captions: Estimate


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A sample of `asked` of `listed` links."""

    asked: int
    listed: int

    @property
    def share(self) -> float:
        return self.asked / self.listed

    def mean(self, values: np.ndarray) -> Estimate:
        """The sum over the whole of what the asked links have, `values` [asked]: a mean of a sample without replacement
        (Cochran 1977, 2.5); of shares by Wilson's interval, which holds where few or nearly all have it."""
        n, left = len(values), 1 - self.share
        mean, spread = float(values.mean()), float(values.std(ddof=1)) if n > 1 else 0.0
        if set(np.unique(values)) <= {0, 1}:
            z = _Z * left**0.5
            middle, half = (
                (mean + z * z / (2 * n)) / (1 + z * z / n),
                z * (mean * (1 - mean) / n + z * z / (4 * n * n)) ** 0.5,
            )
            low, high = middle - half / (1 + z * z / n), middle + half / (1 + z * z / n)
        else:
            low, high = (mean + sign * _Z * spread * (left / n) ** 0.5 for sign in (-1, 1))
        return Estimate(value=mean * self.listed, low=max(0.0, low) * self.listed, high=high * self.listed)


def yields_of(folders: Mapping[str, Path], drawn: Drawn, select: Select, sets: Mapping[str, float] | None) -> Yields:
    """What the whole gives, by the results of the sample.

    `sets` is the share of each evaluation set that was fetched, by the name that removed pictures go under; None where
    pictures are compared with none. Without a selection, what is fetched.
    """
    rows = read_shards(folders["download"], ["status", "bytes"])
    fetched = pc.equal(rows["status"], SUCCESS).to_numpy()
    body = pc.fill_null(rows["bytes"], 0).to_numpy() * fetched
    if "select" not in folders:
        nothing = Estimate.exactly(0)
        return Yields(
            links=Estimate.exactly(drawn.listed),
            fetched=drawn.mean(fetched.astype(float)),
            transfer=drawn.mean(body.astype(float)),
            **dict.fromkeys(SELECTED, nothing),
        )
    passing = Passed.read(folders["filter"])
    passes = np.zeros(len(rows))
    passes[np.flatnonzero(fetched)[passing.rows]] = 1
    passed = drawn.mean(passes)
    copies = copies_of_whole(_groups(folders["dedup"], len(passing.rows), ("row", "kept_row")), passed.value)
    evaluation = Estimate.exactly(0) if sets is None else _evaluation(folders["select"], drawn, sets)
    shown = Estimate.exactly(0)
    if "semantic" in folders:
        left = len(passing.rows) - len(read_shards(folders["dedup"], ["row"]))
        shown = copies_of_whole(_groups(folders["semantic"], left, ("row", "kept_row")), passed.value - copies.value)
    selected = _selected(passed, (copies, evaluation, shown), _balanced(folders["select"]), select.at_most)
    captions = _captions(folders, passing, selected, copies)
    return Yields(
        links=Estimate.exactly(drawn.listed),
        fetched=drawn.mean(fetched.astype(float)),
        transfer=drawn.mean(body.astype(float)),
        passed=passed,
        copies=Estimate(value=copies.value + shown.value, low=copies.low + shown.low, high=copies.high + shown.high),
        evaluation=evaluation,
        selected=selected,
        captions=captions,
    )


def _groups(folder: Path, pictures: int, columns: tuple[str, str]) -> np.ndarray:
    """Sizes of the groups of copies among so many pictures, those of one too."""
    _, others = np.unique(read_shards(folder, columns)[columns[1]].to_numpy(), return_counts=True)
    alone = pictures - int((others + 1).sum())
    return np.concatenate([others + 1, np.ones(alone, np.int64)])


def _evaluation(folder: Path, drawn: Drawn, sets: Mapping[str, float]) -> Estimate:
    """A picture goes if what it shows is in a set: of a set that is itself a sample, as many more would."""
    removed = pq.read_table(folder / REMOVED_FILE, columns=["against"])["against"].to_pylist()
    weights = np.zeros(drawn.asked)
    weights[: len(removed)] = [1 / sets.get(name, 1.0) for name in removed]
    return drawn.mean(weights)


def _balanced(folder: Path) -> float:
    """The share of what is there that balancing leaves."""
    said = json.loads((folder / "selection.json").read_text())
    taken = said["removed"].get("balance", 0)
    return said["rows"] / (said["rows"] + taken)


def _selected(passed: Estimate, gone: tuple[Estimate, ...], balanced: float, at_most: int | None) -> Estimate:
    """What is left; errors that have nothing to do with one another add up as squares."""
    value = passed.value - sum(each.value for each in gone)
    below = float(np.hypot.reduce([passed.value - passed.low, *(each.high - each.value for each in gone)]))
    above = float(np.hypot.reduce([passed.high - passed.value, *(each.value - each.low for each in gone)]))
    numbers = (balanced * max(0.0, number) for number in (value, value - below, value + above))
    value, low, high = (number if at_most is None else min(number, at_most) for number in numbers)
    return Estimate(value=value, low=low, high=high)


def _captions(folders: Mapping[str, Path], passing: Passed, selected: Estimate, copies: Estimate) -> Estimate:
    """Each picture that stays has its own captions, and those of its copies that it had not."""
    own = pc.list_value_length(passing.captions).to_numpy()
    handed = read_shards(folders["dedup"], COPIES.names)
    there = read_selection(folders["select"], ["uid", "captions"])
    has = pc.list_value_length(there["captions"]).to_numpy()
    takes = pc.is_in(there["uid"], value_set=pc.unique(handed["kept_uid"])).to_numpy()
    had = pc.is_in(passing.uids, value_set=pc.unique(there["uid"].filter(pa.array(takes)))).to_numpy(
        zero_copy_only=False
    )
    gain = int(has[takes].sum()) - int(own[had].sum())
    each = float(has[~takes].mean()) if not takes.all() else float(own.mean())
    spread = _Z * float(own.std()) / max(len(own), 1) ** 0.5
    a_copy = gain / len(handed) if len(handed) else 0.0
    more = a_copy * copies.value
    return Estimate(
        value=each * selected.value + more,
        low=max(0.0, each - spread) * selected.low + a_copy * copies.low,
        high=(each + spread) * selected.high + a_copy * copies.high,
    )


def made_of(folders: Mapping[str, Path]) -> Yields:
    """The same of a finished run, as far as it is finished."""
    rows = read_shards(folders["download"], ["status", "bytes"])
    fetched = pc.equal(rows["status"], SUCCESS)
    counts = dict.fromkeys(SELECTED, 0.0)
    if "select" in folders:
        said = json.loads((folders["select"] / "selection.json").read_text())
        removed = said["removed"]
        counts = {
            "passed": float(_kept(folders["filter"])),
            "copies": float(removed["copies"] + removed.get("semantic", 0)),
            "evaluation": float(removed["evaluation"]),
            "selected": float(said["rows"]),
            "captions": float(said["captions"]),
        }
    return Yields(
        links=Estimate.exactly(len(rows)),
        fetched=Estimate.exactly(pc.sum(fetched).as_py()),
        transfer=Estimate.exactly(pc.sum(pc.filter(rows["bytes"], fetched)).as_py() or 0),
        **{name: Estimate.exactly(value) for name, value in counts.items()},
    )


def _kept(verdicts: Path) -> int:
    rules: pa.ChunkedArray = read_shards(verdicts, ["rule"])["rule"]
    return rules.null_count
