"""Which pairs are put together, and what is asked of them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.vlp_core.objectives.vectors import Vectors, vectors
from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.identity import key_of
from vlp_core.objectives.contrastive import Contrastive
from vlp_core.objectives.matching import Hard, Matching, Shuffled
from vlp_core.recipes.ufo import UFO
from vlp_core.system import System
from vlp_core.view import IGNORE, Pairing, Pairs

NEGATIVES = pytest.mark.parametrize("negatives", [Hard(), Shuffled(), Shuffled(1.0)], ids=repr)
DRAWS = 4000
LEAST = 1e-4  # what BLIP's code adds to each probability


def with_ids(view: Vectors, images: list[int], texts: list[int], seed: int = 0) -> Vectors:
    """The view with these names of pictures and texts, and keys of its own."""
    keys = torch.tensor([key_of("draw", seed, row) - 2**63 for row in range(len(images))])
    return replace(
        view, batch=replace(view.batch, image_id=torch.tensor(images), text_id=torch.tensor(texts), key=keys)
    )


def texts(pairs: Pairs) -> torch.Tensor:
    """int64 [M]: the rows of the texts."""
    return torch.arange(len(pairs.image)) if pairs.text is None else pairs.text


@NEGATIVES
@pytest.mark.parametrize("seed", range(20))
def test_a_negative_shares_neither_picture_nor_text(negatives: Pairing, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    images, captions = (torch.randint(0, 6, (12,), generator=draw) for _ in range(2))
    view = with_ids(vectors(12, log_scale=4.0), images.tolist(), captions.tolist(), seed)
    pairs = negatives.choose(view)
    said = texts(pairs)
    wrong = pairs.label == 0
    assert wrong.any()
    for image, text in zip(pairs.image[wrong].tolist(), said[wrong].tolist(), strict=True):
        assert images[image] != images[text] and captions[image] != captions[text]
    right = pairs.label == 1
    assert torch.equal(pairs.image[right], said[right])


@pytest.mark.parametrize("negatives", [Hard(), Shuffled(1.0)], ids=repr)
@pytest.mark.parametrize(
    ("images", "texts"),
    [([0, 0, 0], [0, 1, 2]), ([0, 1, 2], [7, 7, 7]), ([0], [0])],
    ids=["one picture", "one text", "one pair"],
)
def test_without_strangers_there_are_no_negatives(negatives: Pairing, images: list[int], texts: list[int]) -> None:
    pairs = negatives.choose(with_ids(vectors(len(images)), images, texts))
    assert not (pairs.label == 0).any()


def test_hard_negatives_are_a_text_for_each_picture_and_a_picture_for_each_text() -> None:
    rows = torch.arange(8)
    pairs = Hard().choose(vectors(8))
    assert pairs.text is not None and torch.equal(pairs.image[:8], rows) and torch.equal(pairs.text[8:], rows)
    assert pairs.label.tolist() == [0] * 16


def test_hard_negatives_are_drawn_by_the_softmax_of_similarities_to_the_twin() -> None:
    """Over many keys, the shares are those of the softmax without a row's own, and of no other row's."""
    given = vectors(5, log_scale=1.5)
    assert given.twin is not None
    own = torch.eye(5, dtype=torch.bool)
    scale = given.scale().detach()
    expected = []
    for rows, others in (
        (given.image_vectors(), given.twin.text_vectors()),
        (given.text_vectors(), given.twin.image_vectors()),
    ):
        weight = ((scale * rows.detach() @ others.T).softmax(dim=1) + LEAST).masked_fill(own, 0)
        expected.append(weight / weight.sum(dim=1, keepdim=True))
    counts = torch.zeros(2, 5, 5)
    for seed in range(DRAWS // 5):
        pairs = Hard().choose(with_ids(given, list(range(5)), list(range(5)), seed))
        for side, other in enumerate((pairs.text[:5], pairs.image[5:])):
            counts[side, torch.arange(5), other] += 1
    shares = counts / counts.sum(dim=2, keepdim=True)
    wanted = torch.stack(expected)
    sigma = (wanted * (1 - wanted) / (DRAWS // 5)).sqrt()
    assert ((shares - wanted).abs() <= 4.5 * sigma + 1e-9).all()


def test_where_a_model_is_sure_of_its_pairs_all_strangers_are_as_likely() -> None:
    """Their probabilities are 0 in fp32, and a row itself is no stranger all the same."""
    given = vectors(4, dim=4, log_scale=math.log(1000.0))
    assert given.twin is not None
    given.images = given.texts = given.twin.images = given.twin.texts = torch.eye(4)
    drawn = torch.stack(
        [Hard().choose(with_ids(given, [0, 1, 2, 3], [0, 1, 2, 3], seed)).text[:4] for seed in range(300)]
    )
    counts = torch.nn.functional.one_hot(drawn, 4).sum(dim=0)
    assert torch.equal(counts.diagonal(), torch.zeros(4, dtype=torch.int64))
    assert counts[~torch.eye(4, dtype=torch.bool)].min() > 60


def test_a_picture_is_drawn_apart_from_a_text() -> None:
    """Where all are as alike, the two would otherwise be one and the same row."""
    pairs = [Hard().choose(with_ids(vectors(9, log_scale=-20.0), list(range(9)), list(range(9)), i)) for i in range(20)]
    same = torch.stack([each.text[:9] == each.image[9:] for each in pairs])
    assert same.float().mean() < 0.3


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_texts_gets_another_picture(share: float) -> None:
    pairs = [Shuffled(share).choose(with_ids(vectors(20), list(range(20)), list(range(20)), i)) for i in range(50)]
    swapped = torch.cat([each.label for each in pairs]) == 0
    assert swapped.float().mean().item() == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 1000))
    assert torch.equal(swapped, torch.cat([each.image != texts(each) for each in pairs]))
    others = torch.cat([each.image for each in pairs])[swapped]
    assert share == 0 or len(others.unique()) == 20


@NEGATIVES
def test_what_a_sample_is_drawn_to_is_its_keys(negatives: Pairing) -> None:
    given = vectors(6)
    first, again = negatives.choose(given), negatives.choose(given)
    other = negatives.choose(with_ids(given, list(range(6)), list(range(6)), seed=99))
    assert torch.equal(first.image, again.image) and torch.equal(texts(first), texts(again))
    assert not (torch.equal(first.image, other.image) and torch.equal(texts(first), texts(other)))


def system() -> System:
    torch.manual_seed(0)
    return UFO(trunk=(16, 1, 2), patch=32, image_size=64, space=8).build(WORDS)


class Told(nn.Module):
    """A head that knows of each pair how sure it is of a match."""

    def __init__(self, sure: list[float]) -> None:
        super().__init__()
        self.sure = torch.tensor(sure)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        assert len(pooled) == len(self.sure)
        return torch.stack([torch.zeros_like(self.sure), self.sure], dim=1)


def test_the_loss_is_the_mean_over_pairs_that_count() -> None:
    """By hand: four pairs of which two say the same, so that those two have two strangers and the others three."""
    sure = [2.0, -1.0, 0.5, 0.0, 1.0, 3.0, -2.0, 0.25, 0.75, -0.5, 1.5, 2.5]
    labels = [1] * 4 + [0] * 8
    expected = sum(math.log1p(math.exp(-x if label else x)) for x, label in zip(sure, labels, strict=True)) / 12
    view = system().view(batch(4, same={2: 0}))
    assert Matching(Told(sure), Hard())(view).item() == pytest.approx(expected, rel=1e-6)


def test_pairs_without_a_negative_do_not_count() -> None:
    """Two rows that show the same: they match, and nothing else is asked."""
    objective, view = Matching(Told([2.0, -1.0, 9.0, 9.0, 9.0, 9.0]), Hard()), system().view(batch(2, same={1: 0}))
    expected = (math.log1p(math.exp(-2.0)) + math.log1p(math.exp(1.0))) / 2
    assert view.pairs(Hard()).label.tolist() == [IGNORE] * 4
    assert objective(view).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("contrast_first", [True, False])
def test_choosing_negatives_takes_no_gradient_from_the_contrast(contrast_first: bool) -> None:
    """Both ask for the same vectors, and the one that comes first makes them for the other."""
    built = system()
    view = built.view(batch(5))
    objectives = [Contrastive(), built.objectives["itm"]]
    losses = [objective(view) for objective in (objectives if contrast_first else reversed(objectives))]
    torch.stack(losses).sum().backward()
    alone = system()
    Contrastive()(alone.view(batch(5))).backward()
    for found, expected in zip(built.model.align.parameters(), alone.model.align.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
