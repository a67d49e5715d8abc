"""What must hold of every system, whatever it is made of."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils import _pytree as tree

from tests.vlp_core.recipes.systems import ALL, batch_of, system


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@ALL
def test_a_gradient_reaches_every_trained_parameter_and_no_frozen_one(name: str) -> None:
    built, largest = system(name), dict[str, float]()
    for part, parameter in built.named_parameters():
        if part.endswith("weight") and not parameter.any():
            nn.init.ones_(parameter)  # the last norm of a residual branch, which lets nothing into it while it is 0
    for rows, longest in ((4, 6), (7, 12)):  # in the first no word is hidden
        built.zero_grad()
        losses = built(batch_of(name, rows, longest=longest, seed=rows))
        losses["loss"].backward()
        for objective, loss in losses.items():
            assert loss.isfinite().all(), f"{objective} is {loss}"
        for part, parameter in built.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, (
                    f"no objective uses {part}: leave it out, freeze it, or add the objective that reads it"
                )
                assert parameter.grad.isfinite().all(), f"the gradient of {part} is not finite"
                largest[part] = max(largest.get(part, 0.0), parameter.grad.abs().max().item())
            else:
                assert parameter.grad is None, f"{part} is frozen and has a gradient"
    for part, most in largest.items():
        # What is added to all keys alike changes no attention: there the gradient is rounding.
        assert most > 1e-5 or part.endswith(("key.bias", "k_proj.bias")), f"the gradient of {part} is 0"


@ALL
def test_the_order_of_objectives_is_of_no_effect(name: str) -> None:
    given = batch_of(name, 6)
    one, other = system(name), system(name)
    other.objectives = nn.ModuleDict(dict(reversed(list(other.objectives.items()))))
    first, second = one(given), other(given)
    for objective in first:
        torch.testing.assert_close(first[objective], second[objective])
    first["loss"].backward()
    second["loss"].backward()
    # A part that two objectives share goes by the name of the first: all its names are asked for.
    theirs = dict(other.named_parameters(remove_duplicate=False))
    for name, parameter in one.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-5, rtol=1e-4)


@ALL
def test_a_finished_model_and_a_checkpoint_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    given, built = batch_of(name, 6), system(name)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        built(given)["loss"].backward()
        optimizer.step()
    torch.save(built.state_dict(), tmp_path / "state.pt")
    resumed, finished = system(name, seed=1), system(name, seed=1)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    saved = built.finished()
    finished.load_finished(saved, origin="here")
    expected = built(given)
    for objective, loss in resumed(given).items():
        assert torch.equal(loss, expected[objective]), objective
    for key, value in finished.finished().items():
        assert torch.equal(value, saved[key]), key


@ALL
def test_no_part_of_a_model_is_given_the_same_twice(name: str) -> None:
    """However many objectives ask for a pass, it is made once."""
    built = system(name)
    given: dict[str, list[Any]] = {}

    def note(part: str) -> Any:
        return lambda _module, args, kwargs: given.setdefault(part, []).append((args, kwargs))

    for model in (built.model, *(part for twin in built.twins for part in (twin.twin, *twin.beside))):
        for slot, part in model.named_children():
            part.register_forward_pre_hook(note(f"{id(model)} {slot}"), with_kwargs=True)
    built(batch_of(name, 4))
    assert given
    for part, calls in given.items():
        for number, call in enumerate(calls):
            assert not any(same(call, earlier) for earlier in calls[:number]), f"{part} is given the same again"


def same(one: Any, other: Any) -> bool:
    (first, shape), (second, its) = tree.tree_flatten(one), tree.tree_flatten(other)
    return shape == its and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a is b or a == b
        for a, b in zip(first, second, strict=True)
    )
