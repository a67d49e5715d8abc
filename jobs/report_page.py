"""Puts the page of a report together out of what the steps left."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.columns import column
from jobs.filter import FUNNEL_FILE
from jobs.report_sources import Source, every_for, identities, reasons_of, sample_of
from jobs.report_truth import Taken, judged_by
from jobs.select import REMOVED_FILE, SUMMARY_FILE
from vlp_core.curation.balance import BALANCE_FILE
from vlp_core.curation.quantities import QUANTITIES
from vlp_core.curation.rules import Rule, parse_rules
from vlp_core.data.layout import shard_names
from vlp_core.report import svg
from vlp_core.report.drift import FEWEST, by_chance, overlap, shifts_of, words_of
from vlp_core.report.examples import examples_of
from vlp_core.report.failures import Host, by_host, hosts_of, kinds_of
from vlp_core.report.fates import AT_MOST, BALANCE, COPIES, EVALUATION, OTHER_SETS, SEMANTIC
from vlp_core.report.groups import groups_of, read_copies
from vlp_core.report.page import Balance, Drift, Page, Plot, Removed, RuleView, Sweep, Tile
from vlp_core.report.plots import hosts_bars, shift_view, sweep_view, values_plot
from vlp_core.report.sample import Sample
from vlp_core.report.standing import Standing
from vlp_core.report.thumbnails import places_of, thumbnails

_HOSTS = 12
# What takes pictures after the rules, in order, and what the page calls it; others follow under their own names.
_AFTER_RULES = {
    "copies": COPIES,
    "evaluation": EVALUATION,
    "others": OTHER_SETS,
    "semantic": SEMANTIC,
    "balance": BALANCE,
    "at_most": AT_MOST,
}
_LISTED_BY_NONE = ("balance", "at_most")  # of the pictures that these take no step leaves a list


@dataclass(frozen=True, kw_only=True)
class Made:
    """A data set as its steps left it, and a sample of it. `evaluations` are images, under the `names` of the sets."""

    source: Source
    semantic: Path | None
    evaluations: tuple[Path, ...]
    names: tuple[str, ...]
    sample: Sample
    examples: int

    def page(self, against: Source | None, rows: int, truth: Path | None) -> Page:
        """The page; drift is told from about as many rows `against` another, and scores where there is a truth."""
        source = self.source
        assert source.verdicts is not None and source.selection is not None and source.copies is not None
        funnel = json.loads((source.verdicts / FUNNEL_FILE).read_text())
        chosen = json.loads((source.selection / SUMMARY_FILE).read_text())
        scale = funnel["fetched"] / max(1, len(self.sample))
        stages = funnel["lost"]
        rules = parse_rules(stage["rule"] for stage in stages)
        standing = Standing(self.sample, [self._placed(rule) for rule in rules])
        views = [self._rule(standing, number, rules[number], stage, scale) for number, stage in enumerate(stages)]
        copies = read_copies(source.copies)
        semantic = None if self.semantic is None else read_copies(self.semantic)
        groups = [("copies went; their captions went to the ones that stay", groups_of(copies, 2 * self.examples))]
        if semantic is not None:
            groups.append(("went after these, for others show the same", groups_of(semantic, 2 * self.examples)))
        gone = pq.read_table(source.selection / REMOVED_FILE)
        removed = _removed(gone, 2 * self.examples)
        lost = _after(
            chosen["removed"], pc.sum(pc.is_in(gone["against"], pa.array(self.names, pa.string()))).as_py() or 0
        )
        shown = [example.uid for view in views for kind in vars(view.examples).values() for example in kind]
        every = [group for _, found in groups for group in (*found.largest, *found.some)]
        shown += [uid for group in every for uid in (group.stays, *dict(group.copies))]
        shown += [uid for pair in removed for uid in (pair.uid, pair.other)]
        last = [name for name in _LISTED_BY_NONE if chosen["removed"].get(name)]
        taken = Taken(
            copies=copies,
            semantic=semantic,
            evaluations=self.names,
            last=[_AFTER_RULES[name] for name in last],
        )
        places = places_of([source.images, *self.evaluations], shown)
        hosts = _scaled(by_host(self.sample.listed), funnel["listed"] / max(1, len(self.sample.listed)))
        return Page(
            title=f"Data set {chosen['digest'][:12]}",
            tiles=_tiles(funnel, chosen),
            basis=self._basis(),
            part=not self.sample.whole,
            listed=funnel["listed"],
            fetched=funnel["fetched"],
            funnel=svg.funnel(_bars(funnel, lost)),
            rules=views,
            others=self._others(standing, {rule.quantity for rule in rules}, scale),
            plots=self._plots(standing.rules, scale),
            kinds=kinds_of(reasons_of(source.images)),
            failing=sorted((host for host in hosts if host.failed), key=lambda host: (-host.failed, host.name))[
                :_HOSTS
            ],
            hosts=hosts[:_HOSTS],
            hosts_said=_spread([host.rows for host in hosts]),
            groups=groups,
            removed=removed,
            removed_count=len(gone),
            balance=_balance(source.selection / BALANCE_FILE),
            drift=None if against is None else self._drift(against, rows, funnel["fetched"]),
            truth=None if truth is None else judged_by(truth, source, taken, [stage["rule"] for stage in stages]),
            pictures=thumbnails(places),
            texts={uid: place.captions[0] for uid, place in places.items() if place.captions},
        )

    def _placed(self, rule: Rule) -> Rule:
        """The rule with the number that a share of all fetched came to."""
        if rule.top is None:
            return rule
        values = (column(self.source.columns, name, rule.quantity) for name in shard_names(self.source.images))
        return rule.placed(np.concatenate([np.empty(0), *(found for found in values if found is not None)]))

    def _rule(self, standing: Standing, number: int, rule: Rule, stage: Mapping[str, Any], scale: float) -> RuleView:
        placed = standing.rules[number]
        return RuleView(
            text=str(rule),
            about=QUANTITIES[rule.quantity].about,
            took=stage["pictures"],
            captions=stage["captions"],
            alone=round(standing.alone(number) * scale),
            only=round(standing.only(number) * scale),
            placed=str(placed) if placed != rule else "",
            sweep=sweep_view(standing.what_if(number), scale, standing.passing),
            examples=examples_of(self.sample, rule, placed, self.examples),
        )

    def _others(self, standing: Standing, asked: set[str], scale: float) -> list[Sweep]:
        """What a rule more would leave, over each quantity that none asks for."""
        free = [name for name in self.sample.values if name not in asked]
        return [sweep_view(standing.added(name), scale, standing.passing) for name in free]

    def _plots(self, rules: Sequence[Rule], scale: float) -> list[Plot]:
        plots = [values_plot(self.sample, name, rules, scale) for name in self.sample.values]
        return [plot for plot in plots if plot is not None] + [self._hosts_plot(scale)]

    def _hosts_plot(self, scale: float) -> Plot:
        hosts = hosts_of(self.sample.pictures["url"].combine_chunks())
        counts = pc.value_counts(hosts)
        order = np.argsort(-counts.field("counts").to_numpy(), kind="stable")[:_HOSTS]
        names = [counts.field("values")[int(at)].as_py() for at in order]
        chosen = hosts.filter(pa.array(self.sample.selected))
        every, left = (
            [round(scale * (pc.sum(pc.equal(of, name)).as_py() or 0)) for name in names] for of in (hosts, chosen)
        )
        said = f"The {len(names)} with most pictures, of {len(counts):,}"
        return Plot("host", "where the pictures came from", said, bars=hosts_bars(names, every, left))

    def _drift(self, against: Source, rows: int, fetched: int) -> Drift:
        here, there = self.sample, sample_of(against, rows)
        if against.selection is None:
            every_caption = np.ones(len(here.owner), bool)
            here = replace(here, selected=np.ones(len(here), bool), chosen_captions=every_caption)
        what = "fetched" if against.selection is None else "selected"
        every = every_for(fetched)
        gained, lost = words_of(here, there)
        looked_at = [int(sample.selected.sum()) for sample in (here, there)]
        few = min(looked_at) < FEWEST
        return Drift(
            said=f"What is {what} here against what is {what} in {against.selection or against.images}:"
            f" {looked_at[0]:,} and {looked_at[1]:,} pictures looked at.",
            chance=_chance(looked_at, few),
            few=few,
            shifts=[shift_view(shift) for shift in shifts_of(here, there)],
            gained=gained,
            lost=lost,
            overlap=overlap(identities(self.source.images, every), identities(against.images, every), every),
        )

    def _basis(self) -> str:
        if self.sample.whole:
            return "Every number is a count of all rows."
        return (
            f"Numbers with ≈, histograms, hosts and examples are from {len(self.sample.listed):,} rows in"
            f" {self.sample.shards:,} of {self.sample.shards_in_all:,} shards, evenly spread; others count all rows."
        )


def _chance(pictures: Sequence[int], few: bool) -> str:
    """What distances between so many pictures are worth."""
    parted = (
        f"Two draws of so many from one data set are {by_chance(*pictures):.2f} apart or more in one quantity of twenty"
    )
    if few:
        return f"Fewer than {FEWEST} pictures say nothing of a drift. {parted}, by chance alone."
    return f"{parted}, by chance alone: what is below that says nothing."


def _after(removed: Mapping[str, int], by_evaluations: int) -> list[tuple[str, int]]:
    """What took pictures after the rules, in order; of those that other data sets have, so many an evaluation set."""
    taken = {name: taken for name, taken in removed.items() if name != "rules"}
    taken |= {"evaluation": by_evaluations, "others": removed.get("evaluation", 0) - by_evaluations}
    names = [*(name for name in _AFTER_RULES if name in taken), *sorted(taken.keys() - _AFTER_RULES.keys())]
    return [(_AFTER_RULES.get(name, name), taken[name]) for name in names]


def _bars(funnel: Mapping[str, Any], lost: Sequence[tuple[str, int]]) -> list[svg.Bar]:
    listed, left = funnel["listed"], funnel["fetched"]
    bars = [
        svg.Bar("in the list", listed, listed, f"{listed:,}"),
        svg.Bar("fetched", listed, left, _lost(listed, listed - left)),
    ]
    after = [(name, taken) for name, taken in lost if taken or name in (COPIES, EVALUATION)]
    for name, taken in [(stage["rule"], stage["pictures"]) for stage in funnel["lost"]] + after:
        bars.append(svg.Bar(name, left, left - taken, _lost(left, taken)))
        left -= taken
    return bars


def _lost(before: int, taken: int) -> str:
    return f"{before - taken:,}" + (f"   −{taken:,} ({taken / before:.1%})" if taken else "")


def _tiles(funnel: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[Tile]:
    return [
        Tile("rows in the list", f"{funnel['listed']:,}"),
        Tile("pictures fetched", f"{funnel['fetched']:,}"),
        Tile("pass the rules", f"{funnel['kept']:,}"),
        Tile("selected", f"{chosen['rows']:,}"),
        Tile("captions selected", f"{chosen['captions']:,}"),
        Tile("of the list", f"{chosen['rows'] / max(1, funnel['listed']):.1%}"),
    ]


def _removed(table: pa.Table, number: int) -> list[Removed]:
    """Some of what went for being in another data set, by uid."""
    some = table.take(pc.sort_indices(table["uid"])[:number]).to_pylist()
    return [
        Removed(row["uid"], row.get("other_uid") or "", row["reason"], row.get("against") or "theirs") for row in some
    ]


def _balance(file: Path) -> Balance | None:
    if not file.exists():
        return None
    table = pq.read_table(file)
    shown = table if len(table) <= 2 * _HOSTS else pa.concat_tables([table[:_HOSTS], table[-_HOSTS:]])
    return Balance([(row["entry"], row["before"], row["after"]) for row in shown.to_pylist()], len(table))


def _scaled(hosts: Sequence[Host], scale: float) -> list[Host]:
    return [replace(host, rows=round(host.rows * scale), failed=round(host.failed * scale)) for host in hosts]


def _spread(rows: Sequence[int]) -> str:
    ten = sum(sorted(rows, reverse=True)[:10]) / max(1, sum(rows))
    return f"{len(rows):,} hosts; the ten with most rows have {ten:.1%} of them."
