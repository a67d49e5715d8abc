"""What a purge has to do: which links and pictures go from which results. Written down whole before anything is done,
for what a killed purge has removed nobody could find again.

{root}/.purge/plan.json       a Share for each result; while it is there, no pipeline starts
{root}/.purge/{n}.parquet     SEEN of the links that go from a folder of pictures; the last are of all, and of lists
{root}/.purge/{n}.npy         places of pictures among those of a result
"""

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.held import read_columns
from jobs.known import shards_once
from jobs.purge_journals import taken_of_journals
from jobs.purge_tables import Rows, among
from jobs.taken import Taken, digest_places, is_of_images, is_of_links, taken_of_images, taken_of_links
from pipelines.graph import Graph, Result
from pipelines.workflow.purging import FOLDER, PLAN_FILE
from pipelines.workflow.record import Record
from vlp_core.data.layout import SUCCESS, iterate_shards
from vlp_core.data.purged import SEEN
from vlp_core.data.takedowns import TAKEDOWNS_FILE, Takedowns
from vlp_core.files import write_bytes, write_table, write_text
from vlp_core.identity import canonical_json
from vlp_core.uids import digest_of_texts

# Inputs whose pictures are those that a result says something of, the first that there is; what else it stands on has
# seen others, or has those that these are compared with.
_OF = ("images", "hashes", "verdicts", "selection", "scores")
_BY_PLACE = ("hashes", "verdicts", "scores")  # inputs by whose rows a result counts its own
_SCORED_ON = "retrieval"  # the input of which an evaluation draws pictures


@dataclass(frozen=True, kw_only=True)
class Share:
    """What goes from a result: `sets` and `others` are numbers of files of SEEN."""

    folder: str
    sets: tuple[int, ...]
    others: tuple[int, ...] = ()
    """Of pictures that its own are compared with."""
    places: int | None = None
    """Of one that names pictures by their places: the number of the file of those that go."""
    signed: Mapping[str, Any] | None = None
    """And how many are left, with the digest of their uids."""
    drawn: bool = False
    """Whether it was scored on pictures of which some go, and draws such."""


@dataclass(frozen=True, kw_only=True)
class Purge:
    """A purge as it was planned."""

    id: str
    begun: str
    shares: tuple[Share, ...]
    every: int
    """The number of the file of all."""
    listed: int
    """The number of the file of those that go from lists."""
    links: int
    pictures: int
    others: Mapping[str, int]
    """Files that are not ours, with the number of pictures that lie there."""

    @staticmethod
    def read(root: Path) -> "Purge | None":
        """The one that is under way; None where none is."""
        try:
            said = json.loads((root / PLAN_FILE).read_text())
        except FileNotFoundError:
            return None
        numbers = ("sets", "others")
        shares = [{**share, **{name: tuple(share.get(name, ())) for name in numbers}} for share in said.pop("shares")]
        return Purge(**{"listed": said["every"], **said, "shares": tuple(Share(**share) for share in shares)})

    def uids(self, root: Path, sets: tuple[int, ...]) -> pa.Array:
        """Of these sets together."""
        return pc.unique(_seen(root, sets)["uid"])

    def seen(self, root: Path, sets: tuple[int, ...]) -> pa.Table:
        """SEEN of the links of these sets that had pictures."""
        seen = _seen(root, sets)
        return seen.filter(pc.is_valid(seen["sha256"]))

    def end(self, root: Path) -> None:
        (root / PLAN_FILE).unlink(missing_ok=True)  # first: it says that one is under way
        shutil.rmtree(root / FOLDER, ignore_errors=True)


def _seen(root: Path, sets: tuple[int, ...]) -> pa.Table:
    tables = (pq.read_table(root / FOLDER / f"{number}.parquet", schema=SEEN) for number in sets)
    return pa.concat_tables([SEEN.empty_table(), *tables])


def make_plan(root: Path) -> Purge | None:
    """What is to be done for the tombstones of a root, written down; None where it is nothing.

    UserError where a record or a table of a result cannot be read.
    """
    shutil.rmtree(root / FOLDER, ignore_errors=True)
    down, graph = Takedowns.read(root / TAKEDOWNS_FILE), Graph.read(root)
    taken, lists = taken_of(root, down)
    sets = [found.seen for found in taken.values()]
    every = pa.concat_tables([SEEN.empty_table(), *sets, *lists])
    if not len(every):
        return None
    listed = every.filter(pc.invert(among(every["uid"], _shown(root, taken, every))))
    for number, seen in enumerate([*sets, every, listed]):
        write_table(root / FOLDER / f"{number}.parquet", seen)
    numbers = {folder: number for number, folder in enumerate(taken)}
    made = Purge(
        id=uuid.uuid4().hex[:12],
        begun=datetime.now(UTC).isoformat(timespec="seconds"),
        shares=(*_Shares(root, graph, numbers).of_results(), *_of_partial(root, numbers)),
        every=len(sets),
        listed=len(sets) + 1,
        links=len(pc.unique(every["uid"])),
        pictures=len(pc.unique(every["sha256"].drop_null())),
        others=dict(_others(taken, root)),
    )
    write_text(root / PLAN_FILE, canonical_json(asdict(made)) + "\n")
    return made


def taken_of(root: Path, down: Takedowns) -> tuple[dict[Path, Taken], list[pa.Table]]:
    """What of a root is taken down: of folders of pictures that have some of it, and SEEN of lists and of what killed
    downloads wrote down."""
    taken = {folder: taken_of_images(folder, down) for folder in folders_of(root) if is_of_images(folder)}
    lists = [taken_of_links(folder, down) for folder in folders_of(root) if is_of_links(folder)]
    lists += [taken_of_journals(folder, down) for folder in folders_of(root) if folder.suffix == ".partial"]
    return {folder: found for folder, found in taken.items() if len(found.seen)}, lists


def _shown(root: Path, taken: Mapping[Path, Taken], every: pa.Table) -> pa.Array:
    """Uids of links that go, of which other pictures stay somewhere: what a list says of them is of these too."""
    shown, uids, nothing = [pa.array([], pa.string())], pc.unique(every["uid"]), SEEN.empty_table()
    for folder, name in shards_once(filter(is_of_images, folders_of(root))):
        gone = taken[folder].seen if folder in taken else nothing
        rows = read_columns(folder / f"{name}.parquet", ["uid", "status"])
        stays = pc.and_(among(rows["uid"], uids), pc.invert(among(rows["uid"], gone["uid"])))
        shown += rows["uid"].filter(pc.and_(stays, pc.equal(rows["status"], SUCCESS))).chunks
    return pc.unique(pa.chunked_array(shown))


def folders_of(root: Path) -> list[Path]:
    """The folders of results, and of those that are being made."""
    found = (path.parent for path in root.glob("[!.]*/[!.]*/_RECORD.json"))
    return sorted({*found, *(path for path in root.glob("[!.]*/[!.]*.partial") if path.is_dir())})


class _Shares:
    """The share of each result in what goes: of a folder of pictures its own, of what was made of some theirs."""

    def __init__(self, root: Path, graph: Graph, numbers: Mapping[Path, int]) -> None:
        self._root, self._graph, self._numbers = root, graph, numbers
        self._every = len(numbers)
        self._records = {result: Record.read(result.folder) for result in graph.stands_on}
        self._by_content: dict[tuple[str, str], set[Result]] = {}
        for result, record in self._records.items():
            if record is not None:
                self._by_content.setdefault((record.step, record.content), set()).add(result)
        self._folders: dict[Result, tuple[frozenset[Path], frozenset[Path]]] = {
            result: (frozenset({result.folder}), frozenset())
            for result in graph.stands_on
            if is_of_images(result.folder)
        }
        self._places: dict[tuple[Path, tuple[int, ...]], tuple[int, dict[str, Any]]] = {}

    def of_results(self) -> Iterator[Share]:
        for result in self._graph.stands_on:
            own, beside = self._folders_of(result)
            sets, others = (
                tuple(sorted(self._numbers[folder] for folder in folders if folder in self._numbers))
                for folders in (own, beside)
            )
            folder = str(result.folder.relative_to(self._root))
            if not own:
                yield Share(folder=folder, sets=(self._every,))
            elif sets or others:
                drawn = any(scored.folder in self._numbers for scored in self._inputs_of(result, (_SCORED_ON,)))
                counted = self._counted(folder, sets, self._inputs_of(result, _BY_PLACE))
                yield replace(counted, others=others, drawn=drawn)
            elif is_of_links(result.folder):
                yield Share(folder=folder, sets=())

    def _folders_of(self, result: Result) -> tuple[frozenset[Path], frozenset[Path]]:
        """The folders of the pictures that a result says something of, and of all others that it has to do with.

        The nearest ones: where a link has changed, what they were made of has other pictures under the same uids.
        """
        if result not in self._folders:
            self._folders[result] = frozenset(), frozenset()
            below = self._graph.stands_on[result]
            found = {one: self._folders_of(one) for one in below}
            own = frozenset[Path]().union(*(found[one][0] for one in self._inputs_of(result, _OF) & below or below))
            every = frozenset[Path]().union(*(folders for pair in found.values() for folders in pair))
            self._folders[result] = own, every - own
        return self._folders[result]

    def _inputs_of(self, result: Result, names: Sequence[str]) -> frozenset[Result]:
        """What has the content of the first of these inputs that a result was made of and that is there."""
        record = self._records[result]
        said = (record.inputs.get(name) for name in names) if record is not None else ()
        keys = ((one["step"], one["content"]) for one in said if isinstance(one, dict) and "content" in one)
        return frozenset(next((self._by_content[key] for key in keys if key in self._by_content), ()))

    def _counted(self, folder: str, sets: tuple[int, ...], counted_by: frozenset[Result]) -> Share:
        if not counted_by or not sets:
            return Share(folder=folder, sets=sets)
        by = min(result.folder for result in counted_by)
        if (by, sets) not in self._places:
            uids = pc.unique(_seen(self._root, sets)["uid"])
            rows, left = digest_places(uids, (table["uid"] for table in iterate_shards(by, ["uid"])))
            number = len(self._places)
            write_bytes(self._root / FOLDER / f"{number}.npy", rows.astype("<i8").tobytes())
            self._places[by, sets] = number, {"pictures": len(left), "uids": digest_of_texts(left)}
        number, signed = self._places[by, sets]
        return Share(folder=folder, sets=sets, places=number, signed=signed)


def read_places(root: Path, share: Share) -> Rows | None:
    """int64 [R], ascending."""
    if share.places is None:
        return None
    return np.frombuffer((root / FOLDER / f"{share.places}.npy").read_bytes(), "<i8").astype(np.int64)


def _of_partial(root: Path, numbers: Mapping[Path, int]) -> Iterator[Share]:
    """Of results that are not whole yet: nobody has written down what they are made of."""
    for folder in folders_of(root):
        if folder.suffix == ".partial":
            images = is_of_images(folder)
            sets = tuple(numbers[one] for one in (folder,) if one in numbers) if images else (len(numbers),)
            yield Share(folder=str(folder.relative_to(root)), sets=sets)


def _others(taken: Mapping[Path, Taken], root: Path) -> Counter[str]:
    """Pictures that lie in files of no result of this root."""
    ours, counts = {folder.resolve() for folder in folders_of(root)}, Counter[str]()
    folders = {Path(file).parent for found in taken.values() for file in found.files}
    others = {folder for folder in folders if folder.resolve() not in ours}
    for found in taken.values():
        for file, count in found.files.items():
            if Path(file).parent in others:
                counts[file] += count
    return counts
