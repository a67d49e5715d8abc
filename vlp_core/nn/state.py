"""The weights of a module under one name each, though parts of it are shared."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vlp_core.errors import UserError

Left = Callable[[nn.Module], bool]


def own_state(module: nn.Module, leave_out: tuple[type[nn.Module], ...] = ()) -> dict[str, Tensor]:
    """fp32 copies on the CPU (integers as they are); a tensor that has several names is there under its first.

    leave_out: kinds of parts whose state is not wanted.
    """
    tensors = _named(module, leave_out)
    return {
        name: tensor.detach()
        .to("cpu", torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=True)
        .contiguous()
        for name, tensor in tensors.items()
    }


@torch.no_grad()
def load_own_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    origin: str,
    leave_out: tuple[type[nn.Module], ...] = (),
    whole: bool = False,
) -> None:
    """Put what `own_state` gave back; UserError that names `origin` and the first weight that does not fit.

    whole: the state is of all of the module, and more than is wanted of it.
    """
    tensors = _named(module, leave_out)
    state = {name: value for name, value in state.items() if name in tensors} if whole else state
    for name in sorted(tensors.keys() ^ state.keys()):
        lacks = "has no" if name in tensors else "has the unknown"
        raise UserError(
            f"{origin}: its weights do not fit this recipe's model (it {lacks} {name}); give the recipe it has"
        )
    for name, tensor in tensors.items():
        if tensor.shape != state[name].shape:
            raise UserError(
                f"{origin}: its weights do not fit this recipe's model ({name} is {tuple(state[name].shape)} and not "
                f"{tuple(tensor.shape)}); give the recipe it has"
            )
        tensor.copy_(state[name])


def _named(module: nn.Module, leave_out: tuple[type[nn.Module], ...]) -> dict[str, Tensor]:
    hidden = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, leave_out))
    found: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not name.startswith(hidden):
            found.setdefault(id(tensor), name)
    tensors = module.state_dict(keep_vars=True)
    return {name: tensors[name] for name in found.values()}
