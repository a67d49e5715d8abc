"""How tombstones come about: words and lists that name urls, hosts and hashes, and the file that keeps them."""

import errno
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from vlp_core.data.takedowns import (
    KINDS,
    LONGEST_HOST,
    TAKEDOWNS,
    TAKEDOWNS_FILE,
    asked_host,
    canonical_urls,
    read_takedowns,
)
from vlp_core.errors import UserError, first_line
from vlp_core.files import locked, write_table

LOCK_FILE = ".takedowns.lock"
"""Who has it locked is the only one who takes anything down."""

_SHA256, _UID = re.compile("[0-9a-fA-F]{64}"), re.compile("[0-9a-fA-F]{32}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S")
_HOST = re.compile(r"(?:[\w-]+\.)+[\w-]+\.?|localhost|\[[0-9A-Fa-f:.]+\]")
_SHOWN = 80


def read_named(words: Sequence[str]) -> pa.Table:
    """`kind` and `value` of what words name: urls, hosts, sha256, or files of them (text, csv, tsv, Parquet).

    UserError, which names the file and the line, for what is none of these.
    """
    tables = [_of_file(Path(word)) if _is_file(word) else _of_values([word], "") for word in words]
    found = pa.concat_tables(tables)
    if not len(found):
        raise UserError(f"{', '.join(words) or 'no list'}: names nothing; give urls, hosts or sha256, or files of them")
    return found


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG  # what else is in the way is told where it is read


def _of_file(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        elif path.suffix in (".csv", ".tsv"):
            table = csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ","))
        else:
            lines = (line.strip() for line in path.read_text().splitlines())
            return _of_values(["" if line.startswith("#") else line for line in lines], f"{path}, line ")
        ours = {"kind", "value", *KINDS}
        names = [name for name in table.column_names if name.lower() in ours or table.num_columns == 1]
        columns = {name.lower(): table[name].cast(pa.string()) for name in names}
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable list ({first_line(error)}); give text, csv or Parquet") from error
    if {"kind", "value"} <= columns.keys():
        found = pa.table({"kind": columns["kind"], "value": columns["value"]})
        known = pc.is_in(found["kind"], value_set=pa.array(KINDS))
        if not pc.all(known, min_count=0).as_py():
            other = found["kind"].filter(pc.invert(known))[0].as_py()
            raise UserError(f"{path}: kind {other!r} is none of {', '.join(KINDS)}")
        columns = {kind: found["value"].filter(pc.equal(found["kind"], kind)) for kind in KINDS}
    here = [kind for kind in KINDS if kind in columns]
    if not here and len(columns) == 1:
        values = [text or "" for text in next(iter(columns.values())).to_pylist()]
        first = table.column_names[0].strip()
        return _of_values([first, *values] if _is_value(first, values) else values, f"{path}, row ")
    if not here:
        raise UserError(f"{path}: no column {', '.join(KINDS)}; name the columns so")
    return pa.concat_tables(
        _of_values([text or "" for text in columns[kind].to_pylist()], f"{path}, row ", kind) for kind in here
    )


def _is_value(header: str, values: Sequence[str]) -> bool:
    """Whether a file has no header: its first line is what the others are. `image.url` might be a host."""
    kind = kind_of(header)
    return kind in ("url", "sha256") or (kind == "host" and all(kind_of(value.strip()) == kind for value in values))


def _of_values(values: Iterable[str], where: str, wanted: str | None = None) -> pa.Table:
    kinds, named = [], []
    for number, value in enumerate(values, 1):
        if value := value.strip():
            kind = kind_of(value)
            if kind is None or wanted not in (None, kind):
                raise UserError(f"{f'{where}{number}: ' if where else ''}{_said(value, wanted)}")
            kinds.append(kind)
            named.append(value.lower() if kind == "sha256" else value)
    return pa.table({"kind": pa.array(kinds, pa.string()), "value": pa.array(named, pa.string())})


def kind_of(value: str) -> str | None:
    """What a text names, of KINDS; None for anything else."""
    if _SHA256.fullmatch(value):
        return "sha256"
    if _URL.match(value):
        return "url"
    return "host" if _HOST.fullmatch(value) and len(asked_host(value).rstrip(".")) <= LONGEST_HOST else None


def _said(value: str, wanted: str | None) -> str:
    shown = repr(value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…")
    if _UID.fullmatch(value):
        return f"{shown} is a uid; give the url that it stands for"
    if _HOST.fullmatch(value.partition("/")[0]) and "/" in value:
        return f"{shown} is no url; give it with http:// or https://"
    what = {"url": "url (http://…)", "host": "host (example.org)", "sha256": "sha256 (64 hex digits)"}
    return f"{shown} is no {what[wanted]}" if wanted else f"{shown} is neither a url, a host, a sha256 nor a file"


def with_keys(named: pa.Table) -> pa.Table:
    """`kind` and `value` with `key`: by kind and key two tombstones are the same."""
    values = named["value"].combine_chunks()
    kinds = named["kind"].combine_chunks()
    hosts = pc.equal(kinds, "host")
    as_urls = pc.if_else(hosts, pc.binary_join_element_wise("http://", values, ""), values)
    host, url = canonical_urls(as_urls)
    keys = pc.if_else(pc.equal(kinds, "url"), url, pc.if_else(hosts, host, pc.utf8_lower(values)))
    return pa.table({"kind": kinds, "value": values, "key": keys})


def add_tombstones(root: Path, named: pa.Table, reason: str, by: str) -> int:
    """Add what is named to the tombstones of a root, each once; how many are new. Whole or not at all, and two at once
    lose nothing. UserError where the file that is there cannot be read."""
    path = root / TAKEDOWNS_FILE
    with locked(root / LOCK_FILE):
        for left in root.glob(f".{TAKEDOWNS_FILE}.*.tmp"):  # by a kill
            left.unlink()
        there = read_tombstones(root)
        new = _new(named, there)
        if len(new):
            since = datetime.now(UTC).replace(microsecond=0)
            said = [
                pa.array([text] * len(new), TAKEDOWNS.field(at).type) for at, text in ((2, since), (3, reason), (4, by))
            ]
            added = pa.table([new["kind"], new["value_first"], *said], schema=TAKEDOWNS)
            write_table(path, pa.concat_tables([there, added]))
    return len(new)


def count_new(root: Path, named: pa.Table) -> int:
    """How many of those that are named are no tombstones of a root yet. UserError as `add_tombstones`."""
    return len(_new(named, read_tombstones(root)))


def _new(named: pa.Table, there: pa.Table) -> pa.Table:
    """`kind`, `key` and `value_first` of those that are named and not there, each once."""
    named = with_keys(named).group_by(["kind", "key"], use_threads=False).aggregate([("value", "first")])
    known = with_keys(there.select(["kind", "value"])).select(["kind", "key"])
    return named.join(known, ["kind", "key"], join_type="left anti", use_threads=False)


def read_tombstones(root: Path) -> pa.Table:
    """TAKEDOWNS of a root; empty where there are none."""
    return read_takedowns(root / TAKEDOWNS_FILE)
