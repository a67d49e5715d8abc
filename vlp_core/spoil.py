"""Spoil a list of (url, caption), and say how: to see what filters win back on data of one's own.

python -m vlp_core.spoil pairs.parquet --out spoilt --wrong .1 --boilerplate .1 --duplicates .1
python -m vlp_core.spoil pairs.parquet --out spoilt --leaks .1 --test test.parquet

Writes OUT/pairs.parquet, as long a list of links with their captions, and OUT/truth.parquet, what each link became (see
`vlp_core.curation.truth`). Links are drawn by a seed and spoilt whole, with all of their captions.
"""

import argparse
import sys
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vlp_core.curation.lists import files_of, open_list
from vlp_core.curation.settings import Ingest
from vlp_core.errors import UserError
from vlp_core.files import write_table
from vlp_core.identity import generator, uid_of
from vlp_core.miniature.captions import BOILERPLATE

PAIRS_FILE, TRUTH_FILE = "pairs.parquet", "truth.parquet"
TIMES = 10
"""So often a picture is copied that is copied at all: the web shows few pictures often, not many twice."""


KINDS = {
    "wrong": "links that get the captions of another link, which do not fit the picture (kind: wrong)",
    "boilerplate": f"links that get a caption that many pages have, as '{BOILERPLATE[0]}' (kind: boilerplate)",
    "duplicates": f"links that lead to a picture of the list again, with its captions; {TIMES} to one (kind: exact)",
    "leaks": "links that lead to a picture of the --test list, with its captions (kind: leak)",
}
"""By the name of its rate: what a spoilt link becomes, and its kind in the truth."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Shares of the links that become a fault of each of KINDS."""

    wrong: float = 0.0
    boilerplate: float = 0.0
    duplicates: float = 0.0
    leaks: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise UserError(f"--{name} {rate}: give a share from 0 to 1")
        if sum(vars(self).values()) > 1:
            raise UserError(f"more than all links would be spoilt ({sum(vars(self).values()):g}); lower the rates")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A url with its captions, what became of it, and the url of what it copies."""

    url: str
    captions: tuple[str, ...]
    kind: str = "good"
    original: str | None = None


Listed = dict[str, tuple[str, ...]]
"""Captions by url, in list order."""


def read_list(path: Path) -> Listed:
    """UserError where a list cannot be read or has no captions."""
    found: dict[str, list[str]] = {}
    for file in files_of([path]):
        source = open_list(file, Ingest())
        assert source.caption is not None
        for batch in source.batches():
            texts = batch[source.caption]
            if pa.types.is_list(texts.type) or pa.types.is_large_list(texts.type):
                raise UserError(f"{file}: lists of captions; give a row a caption")
            for url, text in zip(
                source.urls(batch).to_pylist(), source.text(source.caption, texts).to_pylist(), strict=True
            ):
                if url is not None and text is not None:
                    found.setdefault(url, []).append(text)
    if not found:
        raise UserError(f"{path}: an empty list; it needs rows with a url and a caption")
    return {url: tuple(texts) for url, texts in found.items()}


def spoilt(listed: Listed, rates: Rates, test: Listed, seed: int) -> list[Link]:
    """The links in list order; of each kind its rate of them, drawn by the seed."""
    urls = list(listed)
    order = [urls[at] for at in generator(seed, "spoil").permutation(len(urls))]
    counts = [round(rate * len(urls)) for rate in (rates.wrong, rates.boilerplate, rates.duplicates, rates.leaks)]
    cuts = [0, *accumulate(counts)]  # rounding may reach beyond the last
    wrong, boilerplate, copies, leaks = (order[start:end] for start, end in pairwise(cuts))
    good = order[cuts[-1] :]
    _check(rates, good, test)
    became: dict[str, Link] = {}
    for number, url in enumerate(wrong):
        other = wrong[(number + 1) % len(wrong)] if len(wrong) > 1 else good[0]
        became[url] = Link(url=url, captions=listed[other], kind="wrong")
    for number, url in enumerate(boilerplate):
        became[url] = Link(url=url, captions=(BOILERPLATE[number % len(BOILERPLATE)],), kind="boilerplate")
    for number, url in enumerate(copies):
        became[url] = _copy(good[number // TIMES % len(good)], listed, number, "exact")
    theirs = list(test)
    for number, url in enumerate(leaks):
        became[url] = _copy(theirs[number % len(theirs)], test, number, "leak")
    return [became.get(url, Link(url=url, captions=listed[url])) for url in urls]


def _check(rates: Rates, good: list[str], test: Listed) -> None:
    if (rates.duplicates or rates.wrong) and not good:
        raise UserError("nothing good would be left to copy or to take captions from; lower the rates")
    if rates.leaks and not test:
        raise UserError(f"--leaks {rates.leaks:g}: of which list? give --test LIST too")


def _copy(url: str, listed: Listed, number: int, kind: str) -> Link:
    """The same picture under another address: a query that servers of files do not look at."""
    sign = "&" if "?" in url else "?"
    return Link(url=f"{url}{sign}copy={number}", captions=listed[url], kind=kind, original=url)


def tables(links: list[Link]) -> tuple[pa.Table, pa.Table]:
    """The list of (url, caption), a row a caption, and the truth, a row a link."""
    pairs = [(link.url, text) for link in links for text in link.captions]
    truth = {
        "uid": [uid_of(link.url) for link in links],
        "url": [link.url for link in links],
        "kind": [link.kind for link in links],
        "original": pa.array([uid_of(link.original) if link.original else None for link in links], pa.string()),
    }
    return pa.table({"url": [url for url, _ in pairs], "caption": [text for _, text in pairs]}), pa.table(truth)


def _write(folder: Path, made: dict[str, pa.Table]) -> None:
    """Write the tables; UserError where others stand there, which a list in use may name."""
    for name, table in made.items():
        if (folder / name).exists() and not _is(folder / name, table):
            raise UserError(f"{folder / name}: is there already, and is another; give another --out, or remove it")
    for name, table in made.items():
        write_table(folder / name, table)


def _is(path: Path, table: pa.Table) -> bool:
    try:
        return pq.read_table(path).equals(table)
    except (OSError, pa.ArrowException):
        return False


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vlp_core.spoil", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("list", type=Path, help="urls and captions: Parquet, csv, tsv or jsonl, or a folder of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for pairs.parquet and truth.parquet")
    for name, about in KINDS.items():
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="SHARE", help=f"share of {about}")
    parser.add_argument("--test", type=Path, help="list whose pictures leak")
    parser.add_argument("--seed", type=int, default=0, help="of which links are spoilt (default: 0)")
    given = parser.parse_args(words)
    try:
        rates = Rates(**{name: getattr(given, name) for name in KINDS})
        test = read_list(given.test) if given.test else {}
        pairs, truth = tables(spoilt(read_list(given.list), rates, test, given.seed))
        _write(given.out, {PAIRS_FILE: pairs, TRUTH_FILE: truth})
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(truth["kind"]).to_pylist()}
    said = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items(), key=lambda found: -found[1]))
    print(f"{given.out / PAIRS_FILE}: {len(pairs):,} pairs of {len(truth):,} links: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
