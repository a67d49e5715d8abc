"""A model with objectives as one module: a batch in, a dict of losses out, so that any engine can wrap it."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.dual_encoder import DualEncoder, DualView
from vlp_core.model import VLModel
from vlp_core.nn.momentum import Momentum
from vlp_core.nn.queue import Queue
from vlp_core.nn.state import load_own_state, own_state
from vlp_core.objectives.masked_language import MaskedLanguage
from vlp_core.objectives.weighted import Weighted
from vlp_core.view import View

Objective = TypeVar("Objective", bound=nn.Module)
FOR_TRAINING = (Momentum, Queue)
"""Parts that a finished model has no use for; checkpoints keep them."""


class System(nn.Module):
    """`objectives` by name, each a module from a view to a loss; `decay`: of the model's twin, where they need one,
    and of its heads' whose answers are among an objective's targets."""

    def __init__(
        self, model: DualEncoder | VLModel, objectives: Mapping[str, nn.Module], *, decay: float | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict(dict(objectives))
        heads = [part.head for part in self.objectives.modules() if isinstance(part, MaskedLanguage) and part.distilled]
        self.twin = None if decay is None else Momentum(model, decay, beside=heads)

    @property
    def twins(self) -> list[Momentum]:
        return [part for part in self.modules() if isinstance(part, Momentum)]

    def view(self, batch: Batch) -> View | DualView:
        """The batch under this model, for objectives and evaluations."""
        if isinstance(self.model, DualEncoder):
            return DualView(self.model, batch)
        return View(self.model, batch, training=self.training, twin=self.twin)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Each objective's loss [] by its name, `loss` their weighted sum, and `scale`, where there is one."""
        if self.training:
            for twin in self.twins:
                twin.update()
        view = self.view(batch)
        losses = {name: objective(view) for name, objective in self.objectives.items()}
        weights = {name: part.weight if isinstance(part, Weighted) else 1.0 for name, part in self.objectives.items()}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        scale = {"scale": view.scale().detach()} if self.compares else {}
        return {**losses, "loss": total, **scale}

    def objective(self, kind: type[Objective]) -> Objective | None:
        """The first objective of a kind, weighted or not, if there is one."""
        return next((part for part in self.objectives.modules() if isinstance(part, kind)), None)

    @property
    def compares(self) -> bool:
        """Whether it maps pictures and texts to one space."""
        return isinstance(self.model, DualEncoder) or self.model.align is not None

    def described(self) -> dict[str, Any]:
        """What a finished model's configuration says beside the recipe: open_clip's own, for its models."""
        return {"open_clip": self.model.config} if isinstance(self.model, DualEncoder) else {}

    def finished(self) -> dict[str, Tensor]:
        """What a finished model consists of, fp32 on the CPU: open_clip's names for its models, else the system's."""
        if isinstance(self.model, DualEncoder):
            return self.model.clip_state_dict()
        return own_state(self, FOR_TRAINING)

    def load_finished(self, state: Mapping[str, Tensor], *, origin: str) -> None:
        """Take what `finished` gave; twins begin as what they follow. UserError, which names `origin`, if it does not
        fit."""
        if isinstance(self.model, DualEncoder):
            self.model.load_weights(state, origin=origin)
        else:
            load_own_state(self, state, origin=origin, leave_out=FOR_TRAINING)
        self._reset_twins()

    def load_trained(self, state: Mapping[str, Tensor], *, origin: str) -> None:
        """As `load_finished`, out of the state dict of a whole system, as a checkpoint keeps it."""
        if isinstance(self.model, DualEncoder):
            inside = "model.clip."
            self.model.load_weights({name.removeprefix(inside): value for name, value in state.items()}, origin=origin)
        else:
            load_own_state(self, state, origin=origin, leave_out=FOR_TRAINING, whole=True)
        self._reset_twins()

    def _reset_twins(self) -> None:
        for twin in self.twins:
            twin.reset()
