import copy
import json
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.vlp_core.ranks import RANKS, together
from tests.vlp_core.train.builders import TOWERS, TRAIN, batch, system
from vlp_core.errors import UserError
from vlp_core.train.engine import Engine, build_config, parameter_groups, updates_on_cpu
from vlp_core.train.ranks import joined
from vlp_core.train.schedule import learning_rate

STAGES = (0, 1, 2, 3)


def plain_losses(steps, batches):
    """The same training with open_clip's own model, loss and transforms' numbers, and torch's AdamW, written out."""
    import open_clip
    from open_clip.loss import ClipLoss

    config = system().model.config
    model = open_clip.CLIP(**copy.deepcopy(config["model_cfg"]))
    model.load_state_dict(system().model.clip_state_dict())
    mean, std = (torch.tensor(config["preprocess_cfg"][name]).view(3, 1, 1) for name in ("mean", "std"))
    bare = [p for name, p in model.named_parameters() if p.ndim < 2 or "bias" in name or "ln" in name]
    rest = [p for p in model.parameters() if not any(p is other for other in bare)]
    optimizer = torch.optim.AdamW(
        [{"params": bare, "weight_decay": 0.0}, {"params": rest, "weight_decay": 0.1}], betas=(0.9, 0.98), eps=1e-6
    )
    losses = []
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, replace(TRAIN, steps=steps))
        given = batches[step % len(batches)]
        image, text, scale = model((given.pixels / 255 - mean) / std, given.tokens)
        loss = ClipLoss()(image, text, scale)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_200_steps_are_those_of_a_plain_loop_over_open_clip():
    """One rank, fp32, equal weights and batches: each step's loss to 1e-4."""
    steps = 200
    torch.set_num_threads(1)
    batches = [batch(i, 16) for i in range(5)]  # few enough that the loss falls far within 200 steps
    train = replace(TRAIN, steps=steps, batch_size=16)
    with joined(False) as ranks, closing(Engine(system(), train, ranks)) as engine:
        losses = [
            engine.step(batches[step % len(batches)], learning_rate(step, train)).values["loss"].item()
            for step in range(1, steps + 1)
        ]
    expected = plain_losses(steps, batches)
    assert losses == pytest.approx(expected, abs=1e-4)
    assert expected[-1] < 0.5 * expected[0], "the comparison means little where nothing is learnt"


@dataclass(frozen=True)
class Ended:
    """Where three steps led: the weights and the lengths of the gradients."""

    weights: dict[str, torch.Tensor]
    norms: list[float]


def three_steps(folder: Path, tower: str, stage: int) -> Ended:
    """Three steps on this process's share of the batches."""
    deepspeed = folder / f"deepspeed-{os.getpid()}.json"  # the other rank writes one too
    # Small parameters stay whole under ZeRO-3 by default: here none does.
    deepspeed.write_text(json.dumps({"zero_optimization": {"stage3_param_persistence_threshold": 0}}))
    # AdamW's first steps divide by the gradient: below its epsilon it would blow rounding up to whole steps.
    eps = 1e-5 if tower == "resnet" else TRAIN.eps
    train = replace(TRAIN, eps=eps, zero_stage=stage, deepspeed=deepspeed if stage == 3 else None)
    torch.set_num_threads(1)
    with joined(False) as ranks, closing(Engine(system(ranks.rank, TOWERS[tower]), train, ranks)) as engine:
        share = train.batch_size // ranks.world
        mine = {"start": ranks.rank * share, "stop": (ranks.rank + 1) * share, "recipe": TOWERS[tower]}
        parts = [batch(step, train.batch_size, **mine) for step in range(1, 4)]
        norms = [float(engine.step(part, 1e-3).values["grad_norm"]) for part in parts]
        return Ended(engine.state_dict(), norms)


CASES = [(tower, stage) for tower in TOWERS for stage in STAGES]


def one_rank(rank: int, folder: str) -> None:

    import torch.distributed as dist

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank)}
    for tower, stage in CASES:
        store = dist.FileStore(f"{folder}/store-{tower}-{stage}", RANKS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
        ended = three_steps(Path(folder), tower, stage)
        torch.save([ended.weights, ended.norms], f"{folder}/{tower}-{stage}-{rank}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return together(one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return {tower: three_steps(tmp_path_factory.mktemp(tower), tower, 0) for tower in TOWERS}


@pytest.mark.parametrize(("tower", "stage"), CASES)
def test_two_ranks_end_with_the_parameters_of_one(tower, stage, two_ranks, alone):
    """Three steps under each ZeRO stage: parameters to 1e-5, on both ranks, which began with other weights."""
    one = alone[tower]
    start = system(0, TOWERS[tower]).model.clip_state_dict()
    for rank in range(RANKS):
        together, norms = torch.load(two_ranks / f"{tower}-{stage}-{rank}.pt")
        assert together.keys() == one.weights.keys()
        for name, value in one.weights.items():
            torch.testing.assert_close(
                together[name], value, rtol=0, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
            )
        assert norms == pytest.approx(one.norms, rel=1e-3)
    moved = max((one.weights[name] - start[name]).abs().max().item() for name in one.weights)
    assert moved > 1e-3, "parameters that did not move would be equal too"


def test_bf16_computes_in_bf16_and_keeps_fp32_weights():
    train = replace(TRAIN, precision="bf16")
    with joined(False) as ranks, closing(Engine(system(), train, ranks)) as engine:
        seen = []
        engine.system.model.clip.visual.register_forward_hook(lambda _module, _input, output: seen.append(output.dtype))
        loss = engine.step(batch(0, 8), 1e-3).values["loss"]
        assert seen == [torch.bfloat16] and loss.dtype == torch.float32
        assert {p.dtype for p in engine.system.parameters()} == {torch.float32}


def test_weight_decay_is_for_matrices():
    (bare, decayed), factors = parameter_groups(system(), 0.1)
    assert factors == [1.0, 1.0]
    assert (bare["weight_decay"], decayed["weight_decay"]) == (0.0, 0.1)
    assert {p.ndim for p in bare["params"]} == {1} and min(p.ndim for p in decayed["params"]) == 2
    assert len(bare["params"]) + len(decayed["params"]) == len(list(system().parameters()))


def test_parts_may_have_a_rate_of_their_own(tmp_path):
    train = replace(TRAIN, optimizer="sgd", beta1=0.0, weight_decay=0.0, clip_norm=None)
    scaled = replace(train, lr_scale=("model.clip.visual=0", "model.clip.transformer=0.5"))
    before, moved = system().model.clip_state_dict(), {}
    for name, settings in (("plain", train), ("scaled", scaled)):
        with joined(False) as ranks, closing(Engine(system(), settings, ranks)) as engine:
            engine.step(batch(0, 8), 0.1)
            after = engine.state_dict()
            moved[name] = {key: after[key] - value for key, value in before.items() if value.is_floating_point()}
    for key, step in moved["plain"].items():
        factor = 0.0 if key.startswith("visual.") else 0.5 if key.startswith("transformer.") else 1.0
        torch.testing.assert_close(moved["scaled"][key], factor * step, atol=1e-6, rtol=1e-4)
    with pytest.raises(UserError, match=r"model\.clp: the system has no such part; did you mean 'model\.clip'"):
        parameter_groups(system(), 0.1, ("model.clp=2",))


def test_a_deepspeed_file_lies_over_what_is_built(tmp_path):
    path = tmp_path / "offload.json"
    path.write_text(
        '{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}, "wall_clock_breakdown": true}'
    )
    config = build_config(replace(TRAIN, deepspeed=path), torch.device("cpu"))
    assert config["zero_optimization"] == {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    assert config["wall_clock_breakdown"] and config["train_batch_size"] == TRAIN.batch_size
    # What it leaves on the CPU is updated there, by the kernel that is quick there and that a GPU is not given.
    plain = build_config(TRAIN, torch.device("cpu"))
    assert [updates_on_cpu(asked, torch.device("cuda")) for asked in (config, plain)] == [True, False]
    with joined(False) as ranks, closing(Engine(system(), TRAIN, ranks)) as engine:
        assert all(group["fused"] for group in engine._engine.optimizer.param_groups)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a readable"),
        ("[]", "a JSON object"),
        ('{"bf16": {"enabled": true}}', "--train.precision"),
        (None, "No such file"),
    ],
)
def test_deepspeed_files_that_do_not_fit_are_refused(text, says, tmp_path):
    path = tmp_path / "deepspeed.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=says):
        build_config(replace(TRAIN, deepspeed=path), torch.device("cpu"))
