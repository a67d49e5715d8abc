"""Batch norm whose statistics are those of the whole batch, over however many ranks it is spread.

torch's SyncBatchNorm does this on GPUs only; here the result must not depend on the number of workers anywhere.
"""

from typing import cast

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vlp_core.errors import UserError
from vlp_core.nn.gather import alone, gather


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d over [B, C, H, W] of all ranks together; every rank has the same B, H and W.

    With one rank, or in evaluation, it is torch's own. Statistics are fp32, also under autocast.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or alone():
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            x = input.float()
            here = x.numel() // x.shape[1]
            rows = here * dist.get_world_size()
            own = x.sum((0, 2, 3)) / here
            centred = x - own[:, None, None]
            # Each rank's mean and variance in one exchange, and no sums, whose difference would lose the digits.
            means, variances = gather(torch.stack([own, centred.square().sum((0, 2, 3)) / here])[None]).unbind(dim=1)
            mean = means.mean(dim=0)
            variance = (variances + (means - mean).square()).mean(dim=0)
            self._remember(mean.detach(), variance.detach() * (rows / max(1, rows - 1)))
            factor = torch.rsqrt(variance + self.eps)
            if self.affine:
                factor = factor * self.weight.float()
            shift = (own - mean) * factor
            if self.affine:
                shift = shift + self.bias.float()
            normal = centred * factor[:, None, None] + shift[:, None, None]
        return normal.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does: the variance is the unbiased one."""
        if not self.track_running_stats:
            return
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class GlobalBatchNormAct2d(GlobalBatchNorm2d):
    """timm's BatchNormAct2d, whose batch norm is followed by its own drop and activation, over all ranks together."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.drop(super().forward(input))))


_GLOBAL: dict[type, type] = {nn.BatchNorm2d: GlobalBatchNorm2d, BatchNormAct2d: GlobalBatchNormAct2d}


def over_all_ranks(module: nn.Module) -> nn.Module:
    """The module with every batch norm in it made global, in place; parameters, buffers and their names stay.

    Raises UserError for a kind of batch norm that has no global form: its result would depend on the number of workers.
    """
    for name, child in module.named_modules():
        if type(child) in _GLOBAL:
            child.__class__ = _GLOBAL[type(child)]
        elif isinstance(child, _BatchNorm) and not isinstance(child, GlobalBatchNorm2d):
            raise UserError(
                f"{name}: a {type(child).__name__} has statistics of its own on each worker; "
                "name an architecture without it, such as ViT-B-32"
            )
    return module
