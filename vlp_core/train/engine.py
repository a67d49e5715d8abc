"""DeepSpeed around a System: one step of the optimiser, and what it keeps. Nothing else imports DeepSpeed."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.errors import UserError, nearest
from vlp_core.system import System
from vlp_core.train.deepspeed_file import overlay, read_file
from vlp_core.train.ranks import Ranks
from vlp_core.train.settings import Train, scale_of

TAG = "deepspeed"
UNIVERSAL = "universal"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one step gave, on the device and not yet read.

    values: by name a number [] of this rank's: `loss`, `grad_norm` (of the global gradient), `loss/OBJECTIVE` for each
        where there are several, and `scale` for systems that have one.
    """

    values: dict[str, Tensor]


class Engine:
    """A System whose parameters, gradients and optimiser's state DeepSpeed spreads over the ranks."""

    def __init__(self, system: System, train: Train, ranks: Ranks, *, universal: bool = False) -> None:
        """`universal`: the checkpoint to be loaded is a universal one, made for any number of ranks."""
        deepspeed = _deepspeed(ranks.device)
        self._ranks = ranks
        self._clip_norm = train.clip_norm
        config = build_config(train, ranks.device)
        self.stage = int(config["zero_optimization"]["stage"])
        check_stage(system, self.stage)
        if self.stage:
            config["gradient_clipping"] = train.clip_norm or 0.0
        if universal:
            config["checkpoint"] = {**config.get("checkpoint", {}), "load_universal": True}
        fused = updates_on_cpu(config, ranks.device)
        optimizer, self._factors = make_optimizer(system, train, fused=fused)
        self._settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        self._engine, *_ = deepspeed.initialize(
            model=system.to(ranks.device), optimizer=optimizer, config=config, dist_init_required=False
        )
        if not self.stage and ranks.world == 1:
            # One rank has its own mean: copying every gradient out and in for it takes 5 % of a small CLIP's step.
            self._engine.enable_backward_allreduce = False

    @property
    def system(self) -> System:
        return cast(System, self._engine.module)

    def step(self, batch: Batch, lr: float) -> Outcome:
        """Forward, backward and one update with learning rate `lr`.

        None of its losses is waited for: that is left to whoever reads the outcome. A shape is, where what the device
        holds decides on it: how many words are hidden, and how long the texts of other ranks are.
        """
        for group, factor in zip(self._engine.optimizer.param_groups, self._factors, strict=True):
            group["lr"] = lr * factor
        losses = self._engine(batch)
        self._engine.backward(losses["loss"])
        norm = None if self.stage else self._clip()
        self._engine.step()
        if norm is None:
            norm = self._engine.get_global_grad_norm()
        values = named_losses(losses)
        values["grad_norm"] = torch.as_tensor(norm, dtype=torch.float32, device=self._ranks.device)
        return Outcome(values={name: value.detach().float().reshape(()) for name, value in values.items()})

    def _clip(self) -> Tensor:
        """The norm of the averaged gradient, clipped: without ZeRO, DeepSpeed clips but does not tell the norm."""
        longest = self._clip_norm if self._clip_norm is not None else float("inf")
        return nn.utils.clip_grad_norm_(self.system.parameters(), longest)

    def state_dict(self) -> dict[str, Tensor]:
        """What the finished system consists of (`System.finished`), whole on every rank; a collective call."""
        import deepspeed

        if self.stage < 3:
            return self.system.finished()
        with deepspeed.zero.GatheredParameters(list(self.system.parameters())):
            return self.system.finished()

    def save(self, folder: Path) -> None:
        """Everything a later `load` needs, under `folder`; a collective call."""
        self._engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)

    def load(self, folder: Path, *, universal: bool = False) -> None:
        """Go on from what `save` left; a collective call."""
        path, _ = self._engine.load_checkpoint(str(folder), tag=UNIVERSAL if universal else TAG)
        if path is None:
            raise UserError(f"{folder}: DeepSpeed cannot read this checkpoint; delete it to go on from the one before")
        if universal:
            self._complete(folder / UNIVERSAL)

    @torch.no_grad()
    def _complete(self, folder: Path) -> None:
        """Take from a universal checkpoint what DeepSpeed 0.19 does not: all that no optimiser holds (statistics,
        queues, twins). And mend what it takes under ZeRO-3: all groups are given the settings of the first, and one
        count of steps, which each of them would then raise."""
        states = torch.load(min(folder.glob("*mp_rank_00_model_states.pt")), map_location="cpu", weights_only=False)
        trained = {
            name for name, weight in self.system.named_parameters(remove_duplicate=False) if weight.requires_grad
        }
        for name, value in self.system.state_dict(keep_vars=True).items():
            if name not in trained:
                value.copy_(states["module"][name])
        for group, settings in zip(self._engine.optimizer.param_groups, self._settings, strict=True):
            group.update(settings)
        fused = self._settings[0].get("fused")
        for parameter, state in self._engine.optimizer.optimizer.state.items():
            if "step" in state:
                # A fused kernel reads the count on its parameter's device; the others are quicker with one on the CPU.
                state["step"] = state["step"].to(parameter.device if fused else "cpu", copy=True)

    def close(self) -> None:
        """End the engine and with it the process group, of which DeepSpeed keeps parts of its own."""
        import deepspeed

        self._engine.destroy()
        deepspeed.comm.destroy_process_group()


def check_stage(system: System, stage: int) -> None:
    """UserError where a system cannot be trained under this stage of ZeRO."""
    if stage == 3 and system.twins:
        raise UserError(
            "--train.zero-stage 3: this system has a momentum twin, which follows whole weights, and ZeRO-3 leaves "
            "no rank with any; give 0, 1 or 2"
        )


def named_losses(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a System returns, by the names of the curve."""
    objectives = [name for name in losses if name not in ("loss", "scale")]
    several = {f"loss/{name}": losses[name] for name in objectives} if len(objectives) > 1 else {}
    return {**{name: losses[name] for name in ("loss", "scale") if name in losses}, **several}


def updates_on_cpu(config: Mapping[str, Any], device: torch.device) -> bool:
    """Whether the optimiser runs there: DeepSpeed's file may leave its state off the GPUs."""
    offload = config["zero_optimization"].get("offload_optimizer") or {}
    return device.type == "cpu" or offload.get("device", "none") != "none"


def make_optimizer(module: nn.Module, train: Train, *, fused: bool) -> tuple[torch.optim.Optimizer, list[float]]:
    """torch's optimiser, and for each of its groups the factor before the learning rate.

    fused: AdamW as one kernel. On a CPU it takes a ninth of the time; a GPU's own choice is as quick.
    """
    groups, factors = parameter_groups(module, train.weight_decay, train.lr_scale)
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=train.lr, momentum=train.beta1), factors
    betas = (train.beta1, train.beta2)
    return torch.optim.AdamW(groups, lr=train.lr, betas=betas, eps=train.eps, fused=fused or None), factors


def parameter_groups(
    module: nn.Module, weight_decay: float, lr_scale: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], list[float]]:
    """Groups of parameters, and the factor before each one's learning rate.

    Matrices have weight decay, and whatever has one dimension none, as in open_clip. Raises UserError for a part of
    `lr_scale` that the module does not have.
    """
    scales = [scale_of(scaled) for scaled in lr_scale]
    found: dict[float, list[tuple[str, nn.Parameter]]] = {1.0: []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            fitting = [factor for part, factor in scales if name.startswith(f"{part}.") or name == part]
            found.setdefault(fitting[-1] if fitting else 1.0, []).append((name, parameter))
    for part, _ in scales:
        if not any(name.startswith(f"{part}.") or name == part for name, _ in module.named_parameters()):
            raise UserError(f"--train.lr-scale {part}: the system has no such part{nearest(part, _parts(module))}")
    groups, factors = [], []
    for factor, named in found.items():
        for decay, chosen in (
            (0.0, [parameter for _, parameter in named if parameter.ndim < 2]),
            (weight_decay, [parameter for _, parameter in named if parameter.ndim >= 2]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay})
                factors.append(factor)
    return groups, factors


def _parts(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_modules() if name and name.count(".") < 2]


def build_config(train: Train, device: torch.device) -> dict[str, Any]:
    """DeepSpeed's configuration: ours, and over it the user's file; UserError for a file that says what flags say."""
    ours: dict[str, Any] = {
        "train_batch_size": train.batch_size,
        "gradient_accumulation_steps": 1,
        "zero_optimization": {"stage": train.zero_stage},
        # torch's AdamW under every stage: DeepSpeed's own is compiled at the first step
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "torch_autocast": {
            "enabled": use_bf16(train.precision, device),
            "dtype": "bfloat16",
            # Modules named here would be gathered and reduced in bf16: ZeRO-3 would export rounded weights.
            "lower_precision_safe_modules": [],
        },
    }
    return overlay(ours, read_file(train.deepspeed)) if train.deepspeed else ours


def use_bf16(precision: str, device: torch.device) -> bool:
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bf16"


def check_optimizer(train: Train, folder: Path, ranks: int) -> None:
    """UserError where DeepSpeed brings what the optimiser keeps to no other number of workers."""
    if train.optimizer == "sgd":
        raise UserError(
            f"{folder}: under ZeRO, DeepSpeed brings AdamW's state to another number of workers and not SGD's; go on "
            f"with {ranks}, or begin in another output folder (with --train.zero-stage 0 the number may change)"
        )


def convert(folder: Path, out: Path) -> None:
    """A universal checkpoint under `out`, for any number of ranks, out of what `save` left in `folder`."""
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    command += ["--num_extract_workers", "1", "--num_merge_workers", "1"]
    command += ["--input_folder", str(folder / TAG), "--output_folder", str(out / UNIVERSAL)]
    # An own process without this one's rank: the tool starts pools of its own.
    alone = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(command, env=alone, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"{folder}: this checkpoint cannot be brought to another number of workers ({reason}); "
            "go on with the number it was made with"
        )


def read_weights(folder: Path, device: torch.device) -> dict[str, Tensor]:
    """The fp32 weights of a System, on the CPU, out of what `save` left in `folder`, whatever the ZeRO stage.

    `device` is the one that this process trains on: DeepSpeed settles for one when it is first imported.
    """
    _deepspeed(device)
    if any((folder / TAG).glob("*optim_states.pt")):
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        return cast(dict[str, Tensor], get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=TAG))
    states = torch.load(folder / TAG / "mp_rank_00_model_states.pt", map_location="cpu", weights_only=False)
    return cast(dict[str, Tensor], states["module"])


def _deepspeed(device: torch.device) -> Any:
    """The package, told which device it works for and to be quiet, with its communication set up."""
    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    for noisy in ("torch.utils.cpp_extension", "DeepSpeed"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    import deepspeed
    import deepspeed.comm.comm as communication

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    if device.type == "cpu":
        # Its all-reduce through shared memory is compiled at the first use; gloo is there.
        deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": False}
    if torch.distributed.is_initialized():
        communication.cdb = None  # or it is the one of an earlier training in this process
        deepspeed.init_distributed(dist_backend=torch.distributed.get_backend(), auto_mpi_discovery=False)
    return deepspeed
