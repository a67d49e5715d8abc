"""A series of releases under one name: whose turn it is, which release comes next, and where a refresh goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.workflow.ending import UsageError
from pipelines.workflow.lock import Lock
from pipelines.workflow.released import checked
from pipelines.workflow.step import Remembered
from vlp_core.data.releases import FOLDER, Next, Release, newest, numbers, parted, read
from vlp_core.data.takedowns import TAKEDOWNS_FILE
from vlp_core.errors import UserError
from vlp_core.files import write_bytes, write_text
from vlp_core.identity import canonical_json

Lists = list[tuple[str, str]]
"""Names and digests of lists."""
BEGUN_FILE = "_begun.json"
NEVER_STORE_FILE = "_never_store.txt"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A refresh that is under way: the release it makes, and the tombstones as they were when it began.

    What is asked must not change while it is asked, so that the same command goes on with it; what is taken down
    meanwhile is passed over by whoever asks, and left out of the release itself.
    """

    next: Next
    takedowns: Path | None
    never_store: Path | None
    """The sha256 among them, a line each."""
    let_in: tuple[str, ...]
    """What leaves the quarantine."""
    earlier: tuple[Remembered, ...] | None
    """The lists that it is of, where those of today are others: it is brought to its end, for it has asked already."""
    named: Release | None
    """The release, where it has its name and the refresh has not come to its end."""


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A refresh that a kill left under way: the number of its release, the digest of the one before, when it began, of
    which lists, and what it lets in."""

    number: int
    before: str | None
    as_of: str
    lists: Lists
    let_in: tuple[str, ...]
    given: tuple[str, ...]
    """What it was told to let in, of which the refresh before may have done some."""


@dataclass(frozen=True)
class Series:
    """The releases of a name in a root."""

    root: Path
    name: str
    wanted: int | None = None
    """The number that the next one must have."""

    @staticmethod
    def named(root: Path, title: str) -> "Series":
        """Of NAME, or NAME@N for who wants to be sure which one is made. UserError for what is no name."""
        if not title:
            raise UsageError("--into: give the release's data set a name, such as --into photos")
        try:
            name, number = parted(title)
        except UserError as error:
            raise UsageError(str(error)) from error
        return Series(root, name, number)

    @property
    def folder(self) -> Path:
        return self.root / FOLDER / self.name

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else refreshes it meanwhile. UserError where somebody does."""
        lock = Lock(self.folder / ".lock")
        if not lock.take():
            raise UserError(f"--into {self.name}: {lock.holder()} refreshes it; wait for that, or give another name")
        lock.sign()
        try:
            yield
        finally:
            lock.release()

    def turn(
        self,
        lists: Lists,
        let_in: tuple[str, ...] = (),
        *,
        done: tuple[str, ...] = (),
        look_only: bool = False,
        anew: bool = False,
    ) -> Turn:
        """The refresh that a kill left under way, unless it is to begin anew; or a new one, of these lists, which lets
        in what it is told to and the one before has not `done`.

        UserError where the release before is damaged.
        """
        last = newest(self.root, self.name)
        before, found = (last, None) if anew else self._left(last)
        number = _after(before)
        if self.wanted is not None and self.wanted < number:
            raise UserError(f"--into {self.name}@{self.wanted}: taken; the next is {self.name}@{number}")
        if self.wanted is not None and self.wanted > number:
            raise UserError(f"--into {self.name}@{self.wanted}: the next is {self.name}@{number}; leave the number out")
        if last is not None:
            checked(last, remember=not look_only)
        digest, folder = (None, None) if before is None else (before.digest, before.path)
        begun = found or _Begun(
            number=number,
            before=digest,
            as_of=datetime.now(UTC).replace(microsecond=0).isoformat(),
            lists=lists,
            let_in=tuple(name for name in let_in if name not in done),
            given=let_in,
        )
        if found is None and not look_only:
            self._begin(begun)
        kept, hashes = self.folder / f"_{TAKEDOWNS_FILE}", self.folder / NEVER_STORE_FILE
        if look_only and found is None:
            kept, hashes = self.root / TAKEDOWNS_FILE, Path()
        same = begun.lists == lists
        return Turn(
            next=Next(
                name=self.name,
                number=number,
                as_of=begun.as_of,
                before=digest,
                folder=folder,
                takedowns=self.root / TAKEDOWNS_FILE,
            ),
            takedowns=kept if kept.exists() else None,
            never_store=hashes if hashes.is_file() else None,
            let_in=let_in if same and begun.given != let_in else begun.let_in,
            earlier=None if same else tuple(Remembered(*item) for item in begun.lists),
            named=None if before is last else last,
        )

    def end(self) -> None:
        """The refresh is done: the next one begins anew."""
        (self.folder / BEGUN_FILE).unlink(missing_ok=True)

    def _left(self, last: Release | None) -> tuple[Release | None, _Begun | None]:
        """The refresh that a kill left under way, after the release that comes before its own; where there is none, the
        last release."""
        begun, before = self._begun(), last
        if begun is not None and last is not None and begun.number == last.number:
            older = numbers(self.root, self.name)[:-1]
            before = read(self.root, self.name, older[-1]) if older else None
        if begun is None or (begun.number, begun.before) != (_after(before), None if before is None else before.digest):
            return last, None
        return before, begun

    def _begun(self) -> _Begun | None:
        """None where nothing is said of one, or nothing that can be read."""
        try:
            said = json.loads((self.folder / BEGUN_FILE).read_text())
            lists = [(str(name), str(digest)) for name, digest in said["lists"]]
            let_in, given = (tuple(map(str, said.get(name, ()))) for name in ("let_in", "given"))
            number, before, as_of = said["number"], said["before"], str(said["as_of"])
            return _Begun(number=number, before=before, as_of=as_of, lists=lists, let_in=let_in, given=given)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _begin(self, begun: _Begun) -> None:
        self.end()  # a kill here leaves none that goes on with other tombstones than it began with
        self._keep_takedowns()
        write_text(self.folder / BEGUN_FILE, canonical_json(asdict(begun)) + "\n")

    def _keep_takedowns(self) -> None:
        """A copy of the tombstones as they are now."""
        kept, hashes = self.folder / f"_{TAKEDOWNS_FILE}", self.folder / NEVER_STORE_FILE
        kept.unlink(missing_ok=True)
        hashes.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            write_bytes(kept, (self.root / TAKEDOWNS_FILE).read_bytes())
            rows = pq.read_table(kept, columns=["kind", "value"])
            values = rows["value"].filter(pc.equal(rows["kind"], "sha256")).to_pylist()
            if values:
                write_text(hashes, "".join(f"{value}\n" for value in values))


def _after(before: Release | None) -> int:
    """The number of the release that comes next."""
    return 1 if before is None else before.number + 1
