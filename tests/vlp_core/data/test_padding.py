"""One convention: a text is start, words, end, and then padding up to the longest of its batch and no further."""

from pathlib import Path

import pytest
import torch

from tests.vlp_core.data.folders import write_images, write_selection
from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.batch import Batch
from vlp_core.data.loader import _CHUNK, Loader
from vlp_core.data.samples import Samples, text_id
from vlp_core.data.tokens import WORDPIECE_FILE, Tokenizer, tokenizer_of, train_word_pieces
from vlp_core.data.transforms import Transform
from vlp_core.recipes.catalogue import RECIPES, SIZES, recipe_of
from vlp_core.sizes import config_of
from vlp_core.view import View
from vlp_core.vocabulary import there

ROWS = 2 * _CHUNK + 4  # more than one thread makes of a batch
CAPTIONS = [" ".join(["red", "circle", "wall"][: 1 + number % 3]) for number in range(ROWS - 1)]
LONG = "a red circle on a blue wall"
ALL = pytest.mark.parametrize(("name", "size"), [(name, size) for name in RECIPES for size in SIZES])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twice as many pictures as a batch has, of which one has a long caption, and word pieces."""
    folder = tmp_path_factory.mktemp("images")
    uids = list(write_images(folder, [2 * ROWS]))
    captions = [[text] for text in (*CAPTIONS, LONG, *CAPTIONS, CAPTIONS[0])]
    write_selection(folder, uids, captions=captions)
    train_word_pieces([*CAPTIONS, LONG], 80).save(str(folder / WORDPIECE_FILE))
    return folder


@pytest.fixture(scope="module")
def samples(folder: Path) -> Samples:
    return Samples.open(folder, folder / "selection.parquet")


def epoch(samples: Samples, tokenizer: Tokenizer) -> list[Batch]:
    """Two batches, one of them with the long caption."""
    with Loader(samples, tokenize=tokenizer, transform=Transform(size=8), seed=0, batch_size=ROWS) as loader:
        return [next(loader), next(loader)]


@ALL
def test_no_recipe_pads_further_than_the_longest_text_of_a_batch(
    name: str, size: str, samples: Samples, folder: Path
) -> None:
    config = config_of(recipe_of(name, size).system)["tokenizer"]
    if config["fixed"]:
        assert name == "clip", "towers that were made for one length are open_clip's"
        return
    tokenizer = tokenizer_of(config, folder)
    known, alone = tokenizer.vocabulary, {text: tokenizer([text])[0] for text in {*CAPTIONS, LONG}}
    texts = {text_id(text): text for text in alone}
    lengths = set()
    for given in epoch(samples, tokenizer):
        rows = [alone[texts[name]] for name in given.text_id.tolist()]
        assert given.tokens.shape == (ROWS, max(map(len, rows)))
        lengths.add(given.tokens.shape[1])
        for row, own in zip(given.tokens, rows, strict=True):
            assert own[0] == known.start and own[-1] == known.end
            assert torch.equal(row[: len(own)], own) and (row[len(own) :] == known.pad).all()
            assert there(row[None], known.end).sum() == len(own)
    assert len(lengths) == 2 and max(lengths) < known.length


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "clip"])
@torch.no_grad()
def test_no_system_makes_more_states_than_a_batch_has_tokens(name: str) -> None:
    sizes = recipe_of(name).system
    system = sizes.build(WORDS).eval()
    for longest in (5, 9):
        given = batch(3, size=sizes.image_size, longest=longest)
        view = system.view(given)
        assert isinstance(view, View)
        assert view.text().states.shape[:2] == given.tokens.shape
