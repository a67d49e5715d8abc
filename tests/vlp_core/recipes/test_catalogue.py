"""What a recipe may be: a short file with the sizes of a system and how its parts are put together, and no parts."""

import ast
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from torch import nn

from tests.vlp_core.recipes.builders import WORDS
from vlp_core.errors import UserError
from vlp_core.recipes.catalogue import RECIPES, recipe_of, table
from vlp_core.sizes import name_of

FOLDER = Path(__file__).parents[3] / "vlp_core" / "recipes"
ALL = pytest.mark.parametrize("name", RECIPES)


def test_every_recipe_of_the_folder_is_in_the_catalogue() -> None:
    files = {path.stem for path in FOLDER.glob("*.py") if "\nPAPER = " in path.read_text()}
    assert files == set(RECIPES)


@ALL
def test_a_recipe_is_sixty_lines_at_most_with_one_class_and_no_factory(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 60
    assert re.match(r'"""\S.* \(\S.*, \d{4}, arXiv:\d{4}\.\d{4,5}\): .+"""\n', text), (
        "name (authors, year, arXiv:…): …."
    )
    tree = ast.parse(text)
    defined = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Lambda)]
    (system,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    assert set(defined) == {system, *(node for node in system.body if isinstance(node, ast.FunctionDef))}


@ALL
def test_a_recipes_class_holds_sizes_and_its_modules_are_parts_with_a_place_of_their_own(name: str) -> None:
    """No module's class is a recipe's, or made inside a function."""
    sizes = recipe_of(name).system
    assert is_dataclass(sizes) and not isinstance(sizes, nn.Module)
    assert name_of(sizes) == name, "a recipe is called as its file, and its class as both in lower case"
    kinds = {type(module) for module in sizes.build(WORDS).modules()}
    assert not [kind for kind in kinds if kind.__module__.startswith("vlp_core.recipes")]
    assert not [kind for kind in kinds if kind.__module__.startswith("vlp_core") and "<locals>" in kind.__qualname__]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("vlit", "tiny"), "^vlit: no such recipe; did you mean 'vilt'"),
        (("vilt", "papper"), "^--size papper: no such size; did you mean 'paper'"),
    ],
)
def test_an_unknown_name_or_size_suggests_the_nearest(given: tuple[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        recipe_of(*given)


def test_the_table_has_each_recipe_with_its_paper_slots_and_objectives() -> None:
    rows = dict(line.split(maxsplit=1) for line in table().splitlines()[1:])
    assert set(rows) == set(RECIPES)
    ufo = rows["ufo"].partition("arXiv:2111.10023)")[2]
    assert ufo.split(maxsplit=3) == ["PatchEmbed", "WordEmbed", "SingleStream", "itc + itm + mlm + prefix_mlm"]
