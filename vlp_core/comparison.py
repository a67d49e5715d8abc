"""Trained systems side by side: what they cost, and what they have learnt."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlp_core.evals.costs import Cost, Ranked, cost_of, two_rankings
from vlp_core.evals.encoder import load_encoder
from vlp_core.evals.names import MARGINS, own_metric
from vlp_core.evals.ranking import first_pictures
from vlp_core.evals.reader import Reader
from vlp_core.evals.sets import read_retrieval
from vlp_core.evals.settings import Evaluate
from vlp_core.lines import added_lines
from vlp_core.load import load_system
from vlp_core.recipes.catalogue import RECIPES

FIRST = "clip"
PAIRS = 32  # in the batch that is timed
MATRIX = 100  # pictures, every pair of which a fusion ranks
SHOWN = ("matching/accuracy", "masked_words/accuracy", "captions/cider", "captions/bleu4")
HEADS = (
    "system",
    "parameters",
    "embedding + rest, ms a pair",
    "its own metric",
    "before",
    "after",
    "R@1/5/10 text to image, %",
    "matching, %",
    "masked words, %",
    "CIDEr",
    "BLEU-4",
    "lines added",
    "trained in (last attempts), s",
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A system, where it lies, and its scores after training and before its first step.

    model      model folder
    retrieval  images folder that it was scored on
    evaluate   how it was scored
    seconds    what the steps took that made it
    """

    name: str
    model: Path
    retrieval: Path
    evaluate: Evaluate
    scores: dict[str, float]
    before: dict[str, float]
    seconds: float

    @property
    def metric(self) -> str:
        return own_metric(self.scores)

    @property
    def learnt(self) -> bool:
        """Whether it is ahead of its untrained self by the margin that its metric has."""
        return self.scores[self.metric] - self.before[self.metric] >= MARGINS[self.metric]

    @property
    def shortfall(self) -> str:
        now, then = self.scores[self.metric], self.before[self.metric]
        return f"{self.name}: {self.metric} {now:.3f} after training is not {MARGINS[self.metric]} above {then:.3f}"

    def reader(self) -> Reader:
        """The system itself, read anew: of many, one at a time is in memory."""
        system, tokenizer, config = load_system(self.model)
        return Reader.of(system, tokenizer, config["preprocess"], self.evaluate, name=self.name)

    def cost(self) -> Cost:
        """On the first pairs of its retrieval set."""
        reader = self.reader()
        reader = replace(reader, settings=replace(reader.settings, batch_size=PAIRS))
        batch = next(reader.pairs(first_pictures(read_retrieval(self.retrieval), PAIRS)))
        with reader.autocast():
            return cost_of(reader.system, batch)


def table(systems: Sequence[Trained]) -> str:
    """A row a system, in Markdown."""
    # Over all recipes, the pattern of the others first, so that it does not depend on who is in the table. What is no
    # recipe is a setting of one, and added nothing.
    lines = added_lines([FIRST, *(name for name in sorted(RECIPES) if name != FIRST)])
    return _markdown(HEADS, (_row(system, system.cost(), lines.get(system.name, 0)) for system in systems))


def _row(system: Trained, cost: Cost, lines: int) -> list[str]:
    scores, metric = system.scores, system.metric
    recalls = [scores.get(f"retrieval/text_to_image_r@{k}") for k in (1, 5, 10)]
    return [
        system.name,
        f"{cost.parameters / 1e6:.2f} M",
        f"{cost.embedding_ms:.2f} + {cost.rest_ms:.2f}",
        metric,
        f"{system.before[metric]:.3f}",
        f"{scores[metric]:.3f}",
        " / ".join("–" if value is None else f"{100 * value:.1f}" for value in recalls)
        if recalls[0] is not None
        else "–",
        *(_cell(scores.get(name), percent=name.endswith("accuracy")) for name in SHOWN),
        str(lines),
        f"{system.seconds:.0f}",
    ]


def _cell(value: float | None, *, percent: bool) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if percent else f"{value:.2f}"


def rankings(systems: Iterable[Trained], dual: Path | None) -> str:
    """Retrieval on the first pictures by each fusion, over a dual encoder's candidates (its own, else those of `dual`)
    and over every pair; nothing where none of them is one."""
    rows = []
    for system in systems:
        if "matching/accuracy" not in system.scores:
            continue
        reader = system.reader()
        if reader.system.compares:
            brings = reader.encoder()
        elif dual is not None:
            brings = load_encoder(dual, system.evaluate)
        else:
            continue
        some, whole = two_rankings(reader, first_pictures(read_retrieval(system.retrieval), MATRIX), brings)
        rows.append([system.name, *_told(some), *_told(whole), f"{some.seconds / whole.seconds:.2f}"])
    if not rows:
        return ""
    heads = ("fusion", "R@1 of candidates, %", "s", "R@1 of every pair, %", "s", "time, ratio")
    return _markdown(heads, rows)


def _told(ranked: Ranked) -> tuple[str, str]:
    return f"{100 * ranked.recall_at_1:.1f}", f"{ranked.seconds:.1f}"


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
