"""What must hold of every system, whatever it is made of."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.batch import Batch
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.system import System
from vlp_core.view import View

NAMES = [name for name in RECIPES if name != "clip"]
"""open_clip's towers read texts of one length and one vocabulary: their tests are those of training."""
ALL = pytest.mark.parametrize("name", NAMES)
RANKS = 2


def system(name: str, seed: int = 0) -> System:
    torch.manual_seed(seed)
    return RECIPES[name].TINY.system.build(WORDS)


def pictures(name: str) -> int:
    return RECIPES[name].TINY.system.image_size


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@ALL
def test_a_gradient_reaches_every_trained_parameter_and_no_frozen_one(name: str) -> None:
    built = system(name)
    for rows, longest in ((4, 6), (7, 12)):
        built.zero_grad()
        losses = built(batch(rows, size=pictures(name), longest=longest, seed=rows))
        losses["loss"].backward()
        assert all(loss.isfinite().all() for loss in losses.values())
        for parameter_name, parameter in built.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
            else:
                assert parameter.grad is None, parameter_name


@ALL
def test_padding_changes_nothing(name: str) -> None:
    """Texts that are padded further give the losses that they gave."""
    given = batch(5, size=pictures(name))
    padded = replace(given, tokens=torch.cat([given.tokens, torch.full((5, 3), WORDS.pad)], dim=1))
    short, long = (system(name).eval()(found) for found in (given, padded))
    for objective in short:
        torch.testing.assert_close(long[objective], short[objective], atol=1e-5, rtol=1e-5)


@ALL
def test_the_order_of_objectives_is_of_no_effect(name: str) -> None:
    given = batch(6, size=pictures(name))
    one, other = system(name), system(name)
    other.objectives = torch.nn.ModuleDict(dict(reversed(list(other.objectives.items()))))
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
    given, built = batch(6, size=pictures(name)), system(name)
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


def three_steps(name: str, given: Batch) -> dict[str, torch.Tensor]:
    import torch.distributed as dist

    built = system(name)
    optimizer = torch.optim.SGD(built.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        built(given)["loss"].backward()
        if dist.is_initialized():
            for parameter in built.parameters():
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= dist.get_world_size()
        optimizer.step()
    return built.state_dict()


def one_rank(rank: int, folder: str) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", RANKS), rank=rank, world_size=RANKS)
    for name in NAMES:
        given = batch(8, size=pictures(name), same={5: 1})
        share = slice(rank * 4, rank * 4 + 4)
        tensors = {field: getattr(given, field)[share] for field in ("pixels", "tokens", "image_id", "text_id", "key")}
        # Each rank pads its texts to its own longest.
        tensors["tokens"] = tensors["tokens"][:, : int((tensors["tokens"] != WORDS.pad).sum(dim=1).max())]
        state = three_steps(name, replace(given, uid=given.uid[share], **tensors))
        if rank == 0:
            torch.save(state, f"{folder}/{name}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(one_rank, args=(str(folder),), nprocs=RANKS)  # type: ignore[attr-defined]
    return folder


@ALL
def test_two_ranks_have_the_parameters_of_one_after_three_steps(name: str, two_ranks: Path) -> None:
    expected = three_steps(name, batch(8, size=pictures(name), same={5: 1}))
    found = torch.load(two_ranks / f"{name}.pt")
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=1e-4, msg=lambda said, key=key: f"{key}: {said}")


@ALL
def test_losses_begin_where_chance_is(name: str) -> None:
    built = system(name)
    losses = built(batch(24, size=pictures(name), longest=12))
    word = math.log(WORDS.size)
    chance = {"itm": math.log(2), "mlm": word, "lm": word, "caption": word, "bicaption": 2 * word}
    for objective, expected in chance.items():
        if objective in losses:
            assert losses[objective].item() == pytest.approx(expected, rel=0.2), objective


@ALL
def test_one_view_makes_each_pass_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two objectives that ask for the same pass get the same tensors."""
    built = system(name)
    view = built.view(batch(4, size=pictures(name)))
    if isinstance(view, View):
        assert view.image() is view.image()
        assert view.text() is view.text()
