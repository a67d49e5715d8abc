"""Ray's trainer without what only other uses of it need: on two cores each of its actors takes seconds to start."""

from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import RayTrainCallback
from ray.train.v2.torch.torch_trainer import TorchTrainer

STOP_SECONDS = 0.5


class Trainer(TorchTrainer):
    """`TorchTrainer` for workers that read their own data."""

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        callbacks = [kept for kept in super()._create_default_callbacks() if not isinstance(kept, DatasetsCallback)]
        for callback in callbacks:
            if isinstance(callback, PlacementGroupCleanerCallback):
                # It was told to stop, and does: nobody has to wait while it asks a dashboard that is not there.
                callback._stop_timeout = STOP_SECONDS
        return callbacks
