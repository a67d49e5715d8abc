"""A fusion attends as it is asked to, or says that it cannot: another attention would show later words."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch
from torch import nn

from vlp_core import fusion
from vlp_core.errors import UserError
from vlp_core.fusion.attentions import ATTENTIONS
from vlp_core.fusion.co_attention import CoAttention
from vlp_core.fusion.cross_attention import CrossAttention
from vlp_core.fusion.cross_decoder import CrossDecoder
from vlp_core.fusion.single_stream import SingleStream
from vlp_core.fusion.two_way import TwoWay
from vlp_core.nn.blocks import Trunk
from vlp_core.sequence import Sequence

DIM, HEADS = 12, 3
KINDS = sorted({attention for known in ATTENTIONS.values() for attention in known})


def crossing() -> CrossAttention:
    return CrossAttention(Trunk(DIM, 1, HEADS, context_dim=DIM))


BUILT = {
    "CoAttention": lambda: CoAttention(DIM, 1, HEADS, image_dim=DIM, text_dim=DIM),
    "CrossAttention": crossing,
    "CrossDecoder": lambda: CrossDecoder(DIM, 1, HEADS),
    "SingleStream": lambda: SingleStream(Trunk(DIM, 1, HEADS)),
    "TwoWay": lambda: TwoWay(crossing(), crossing(), image_dim=DIM),
}


def test_each_fusion_says_which_attention_it_has() -> None:
    modules = [
        importlib.import_module(f"{fusion.__name__}.{found.name}") for found in pkgutil.iter_modules(fusion.__path__)
    ]
    fusions = {
        name
        for module in modules
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, nn.Module)
        and "attention" in inspect.signature(kind.forward).parameters
    }
    assert fusions == set(ATTENTIONS) == set(BUILT)


def test_the_guide_says_which_attention_each_fusion_has() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    for name, known in ATTENTIONS.items():
        assert f".{name}` | {', '.join(f'`{attention}`' for attention in known)} |" in readme


@pytest.mark.parametrize("attention", [*KINDS, "window"])
@pytest.mark.parametrize("name", ATTENTIONS)
@torch.no_grad()
def test_an_attention_that_a_fusion_does_not_have_is_refused_with_those_that_have_it(name: str, attention: str) -> None:
    built, image, text = BUILT[name](), Sequence(torch.ones(2, 4, DIM)), Sequence(torch.ones(2, 3, DIM))
    if attention in ATTENTIONS[name]:
        assert built(image, text, attention).text.shape == (2, 3, DIM)
        return
    others = ", ".join(other for other, known in ATTENTIONS.items() if attention in known) or "no fusion"
    with pytest.raises(UserError, match=f"^{name} has no attention '{attention}', only .*; .*{others}"):
        built(image, text, attention)
