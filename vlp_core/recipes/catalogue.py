"""All recipes by name; the one list of them."""

from types import ModuleType
from typing import Literal

from vlp_core.errors import UserError, nearest
from vlp_core.recipes import albef, blip, clip, coca, meter, pixelbert, ufo, vilt, virtex, vlc
from vlp_core.recipes.recipe import Recipe
from vlp_core.sizes import outline

RECIPES: dict[str, ModuleType] = {
    "albef": albef,
    "blip": blip,
    "clip": clip,
    "coca": coca,
    "meter": meter,
    "pixelbert": pixelbert,
    "ufo": ufo,
    "vilt": vilt,
    "virtex": virtex,
    "vlc": vlc,
}
"""Each has PAPER and TINY, and says in its first line which paper it is of."""

SIZES = ("tiny", "paper")
Size = Literal["tiny", "paper"]


def recipe_of(name: str, size: str = "tiny") -> Recipe:
    """A recipe by its name; UserError with the nearest where there is none such."""
    if name not in RECIPES:
        raise UserError(f"{name}: no such recipe{nearest(name, RECIPES)}")
    if size not in SIZES:
        raise UserError(f"--size {size}: no such size{nearest(size, SIZES)}")
    found: Recipe = getattr(RECIPES[name], size.upper())
    return found


def table() -> str:
    """Each recipe in a line: its name, its paper, what fills its slots, and its objectives."""
    rows: list[tuple[str, ...]] = [("name", "paper", "image", "text", "fusion", "objectives")]
    for name, module in sorted(RECIPES.items()):
        system = outline(module.TINY.system)
        model = system.model
        slots = [type(getattr(model, slot, model)).__name__ for slot in ("image", "text", "fusion")]
        paper = (module.__doc__ or "").splitlines()[0].partition("): ")[0] + ")"
        rows.append((name, paper, *slots, " + ".join(system.objectives)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
