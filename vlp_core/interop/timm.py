"""timm's encoders of pictures by name: out of a file, or from a hub, which is where timm fetches them."""

import sys
from pathlib import Path
from typing import Any, cast

import timm
import torch
from torch import nn

from vlp_core.encoders.pictures import body_by_name
from vlp_core.errors import UserError, first_line
from vlp_core.interop.names import State
from vlp_core.interop.place import measure
from vlp_core.interop.trained import Picture, pixels_of


def tower(name: str, file: Path | None) -> Picture:
    """The encoder of that name. UserError for a name or a file that is not timm's, and a hub that is out of reach."""
    if file is None:
        try:
            body = body_by_name(name, pretrained=True)
        except UserError:
            raise
        except Exception as error:  # of the hub's client, of the network, of timm where it has no weights by that name
            raise UserError(f"cannot be fetched ({first_line(error)}); give its file as timm:{name}:FILE") from error
        return _picture(body, body.state_dict())
    with torch.device("meta"):
        body = body_by_name(name)
    return _picture(body, _read(file, body))


def _picture(body: nn.Module, state: State) -> Picture:
    pixels = pixels_of(cast(dict[str, Any], body.pretrained_cfg))
    return Picture(state=state, sizes=measure(body), kind=type(body).__name__, pixels=pixels)


def _read(file: Path, body: nn.Module) -> State:
    """The file's weights as timm itself would bring them to this model, but for its classifier's."""
    try:
        state = timm.models.load_state_dict(str(file))
        convert: Any = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
        state = convert(state, body) if convert else state
    except Exception as error:  # timm, torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"not weights that timm can read ({first_line(error)})") from error
    named = cast(dict[str, Any], body.pretrained_cfg).get("classifier") or ()
    classifiers = tuple(f"{one}." for one in ([named] if isinstance(named, str) else named))
    return {name: value for name, value in state.items() if not name.startswith(classifiers)}
