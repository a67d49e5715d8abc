"""A model with objectives as one module: a batch in, a dict of losses out, so that any engine can wrap it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.model import DualEncoder


class View:
    """One batch under one model: each pass is computed once, however many objectives ask for it.

    A pass is known by the tensor that went into it; without one, the batch's own is meant.
    """

    def __init__(self, model: DualEncoder, batch: Batch) -> None:
        self.batch = batch
        self._model = model
        # The inputs are kept with their results: an id is only a name while its tensor lives.
        self._passes: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}
        self._scale: Tensor | None = None

    def image(self, pixels: Tensor | None = None) -> Tensor:
        """uint8 pixels [B, 3, H, W] -> unit vectors [B, D]."""
        pixels = self.batch.pixels if pixels is None else pixels
        return self._once("image", pixels)

    def text(self, tokens: Tensor | None = None) -> Tensor:
        """Token ids int64 [B, L] -> unit vectors [B, D]."""
        tokens = self.batch.tokens if tokens is None else tokens
        return self._once("text", tokens)

    def scale(self) -> Tensor:
        """The factor before the softmax [1]."""
        if self._scale is None:
            self._scale = self._model.scale()
        return self._scale

    def _once(self, kind: str, given: Tensor) -> Tensor:
        name = (kind, id(given))
        if name not in self._passes:
            model = self._model
            output = model.encode_image(model.normalise(given)) if kind == "image" else model.encode_text(given)
            self._passes[name] = (given, output)
        return self._passes[name][1]


class System(nn.Module):
    """`objectives` by name, each a module from a View to a loss; `weights` default to 1."""

    def __init__(
        self, model: DualEncoder, objectives: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict(dict(objectives))
        self.weights = {name: (weights or {}).get(name, 1.0) for name in objectives}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Each objective's loss [] by its name, `loss` their weighted sum, and `scale`, detached, to be watched."""
        view = View(self.model, batch)
        losses = {name: objective(view) for name, objective in self.objectives.items()}
        total = torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()
        return {**losses, "loss": total, "scale": view.scale().detach()}
