"""How many pictures and captions each rule took, as numbers and as a picture."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A rule, and what it took of what came to it."""

    rule: str
    pictures: int
    captions: int


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """From the rows of the list over the pictures that were fetched to those that pass all rules."""

    listed: int
    fetched: int
    captions: int
    lost: Sequence[Stage]

    @property
    def kept(self) -> int:
        return self.fetched - sum(stage.pictures for stage in self.lost)

    @property
    def kept_captions(self) -> int:
        return self.captions - sum(stage.captions for stage in self.lost)

    def as_json(self) -> dict[str, Any]:
        """Counts of pictures and captions, and in the order of the rules what each took."""
        return {
            "listed": self.listed,
            "fetched": self.fetched,
            "kept": self.kept,
            "captions": {"fetched": self.captions, "kept": self.kept_captions},
            "lost": [vars(stage) for stage in self.lost],
        }

    def png(self) -> bytes:
        """Bars of what is left after each stage, with what it took beside them."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        names, left = ["in the list", "fetched"], [self.listed, self.fetched]
        for stage in self.lost:
            names.append(stage.rule)
            left.append(left[-1] - stage.pictures)
        before = [left[0], *left[:-1]]
        figure = Figure(figsize=(9, 1.2 + 0.42 * len(names)), dpi=120, layout="constrained")
        axes = figure.subplots()
        at = range(len(names))
        axes.barh(at, before, color="#e9ecef", height=0.72)
        axes.barh(at, left, color="#4c78a8", height=0.72)
        axes.set_yticks(at, names)
        axes.invert_yaxis()
        axes.set_xlim(0, max(1, self.listed) * 1.22)
        for row, (now, was) in enumerate(zip(left, before, strict=True)):
            taken = f"   −{was - now:,} ({(was - now) / was:.1%})" if was > now else ""
            axes.text(max(1, was) + 0.01 * max(1, self.listed), row, f"{now:,}{taken}", va="center", fontsize=9)
        axes.set_title(f"{self.kept:,} of {self.listed:,} pictures left, {self.kept_captions:,} captions", loc="left")
        axes.set_xlabel("pictures left after each rule; light: what came to it", loc="left")
        axes.spines[:].set_visible(False)
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        return file.getvalue()
