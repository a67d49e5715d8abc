"""Every system under the stages of ZeRO that it allows, on two ranks: it ends where one rank without ZeRO does."""

import gc
import json
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.vlp_core.ranks import RANKS, together
from tests.vlp_core.recipes.builders import WORDS, batch
from vlp_core.batch import Batch
from vlp_core.errors import UserError
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.system import System
from vlp_core.train.engine import Engine
from vlp_core.train.ranks import joined
from vlp_core.train.settings import Train

ROWS, STEPS = 4, 2
STAGES = (2, 3)  # the first is the second but for its gradients, which stay whole; test_engine.py has all of them
# With an epsilon above what rounding does to a gradient, for AdamW makes the same step of the smallest.
TRAIN = Train(steps=STEPS, batch_size=ROWS, eps=1e-4, gpu=False)
RATE = 1e-3
NAMES = [name for name in RECIPES if name != "clip"]
"""open_clip's towers read texts of one length: they are trained under every stage in test_engine.py."""


def system(name: str) -> System:
    torch.manual_seed(0)
    return RECIPES[name].TINY.system.build(WORDS)


TWINS = [name for name in NAMES if system(name).twins]
CASES = [(name, stage) for name in NAMES for stage in STAGES if stage < 3 or name not in TWINS]


def share(given: Batch, rank: int) -> Batch:
    """The rows of one of the ranks."""
    rows = slice(rank * ROWS // RANKS, (rank + 1) * ROWS // RANKS)
    tensors = {field: getattr(given, field)[rows] for field in ("pixels", "tokens", "image_id", "text_id", "key")}
    return replace(given, uid=given.uid[rows], **tensors)


def trained(name: str, train: Train) -> dict[str, torch.Tensor]:
    """What is exported after the steps; each rank has its rows of every batch."""
    torch.set_num_threads(1)
    with joined(False) as ranks, closing(Engine(system(name), train, ranks)) as engine:
        for step in range(STEPS):
            given = batch(ROWS, size=RECIPES[name].TINY.system.image_size, seed=step)
            engine.step(given if ranks.world == 1 else share(given, ranks.rank), RATE)
        return engine.state_dict()


def one_rank(rank: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank)}
    gc.freeze()  # ZeRO-3 collects garbage at its start, and what was imported is none
    for name, stage in CASES:
        store = dist.FileStore(f"{folder}/store-{name}-{stage}", RANKS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
        ended = trained(name, replace(TRAIN, zero_stage=stage, deepspeed=Path(folder) / "all_cut.json"))
        torch.save(ended, f"{folder}/{name}-{stage}-{rank}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both ranks have left what they ended with. Of systems of this size ZeRO-3 would cut no weight but for this
    threshold."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "all_cut.json").write_text(json.dumps({"zero_optimization": {"stage3_param_persistence_threshold": 0}}))
    together(one_rank, folder)
    return folder


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, torch.Tensor]]:
    """What one rank ends with, by system; it has moved as far as the rate lets it."""
    ended = {name: trained(name, TRAIN) for name in NAMES}
    for name, weights in ended.items():
        start = system(name).finished()
        assert max((value - start[key]).abs().max().item() for key, value in weights.items()) > RATE, name
    return ended


@pytest.mark.parametrize(("name", "stage"), CASES)
def test_two_ranks_under_zero_end_where_one_without_it_does(
    name: str, stage: int, two_ranks: Path, alone: dict[str, dict[str, torch.Tensor]]
) -> None:
    for rank in range(RANKS):
        found = torch.load(two_ranks / f"{name}-{stage}-{rank}.pt")
        assert found.keys() == alone[name].keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0, msg=lambda said, key=key: f"{key}: {said}")


@pytest.mark.parametrize("asked", ["flag", "file"])
@pytest.mark.parametrize("name", TWINS)
def test_a_momentum_twin_refuses_zero_3_and_says_why(name: str, asked: str, tmp_path: Path) -> None:
    file = tmp_path / "deepspeed.json"
    file.write_text('{"zero_optimization": {"stage": 3}}')
    train = replace(TRAIN, zero_stage=3) if asked == "flag" else replace(TRAIN, deepspeed=file)
    why = r"zero-stage 3: this system has a momentum twin, which follows whole weights.*; give 0, 1 or 2"
    with joined(False) as ranks, pytest.raises(UserError, match=why):
        Engine(system(name), train, ranks)


def test_the_systems_of_albef_and_blip_have_twins() -> None:
    assert {"albef", "blip"} <= set(TWINS) < set(NAMES)
