"""untrained: a model as it was before its first step, to be scored beside what became of it.

Where a run starts from weights that exist (--train.start), it is as those made it: what training adds to them shows.
"""

from dataclasses import dataclass
from pathlib import Path

from vlp_core.settings import path_or_name
from vlp_core.tracker import Summary, Tracker

VERSION = "4"


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What of the settings of training decides its first weights."""

    seed: int = 0
    start: tuple[str, ...] = path_or_name(())


def run(*, model: Path, beginning: Beginning, out: Path, tracker: Tracker) -> Summary:
    """Write the model folder `model` once more, with the weights that a run begins with.

    UserError where those that it starts from are gone.
    """
    import torch

    from vlp_core.data.tokens import tokenizer_of
    from vlp_core.evals.costs import parameter_count
    from vlp_core.load import sizes_of
    from vlp_core.model_folder import read_config, write_folder
    from vlp_core.sizes import fresh_system, name_of
    from vlp_core.train.start import load_start

    config = read_config(model)
    tokenizer = tokenizer_of(config["tokenizer"], model)
    sizes = sizes_of(config)
    system = fresh_system(sizes, tokenizer.vocabulary, beginning.seed)
    if beginning.start:
        load_start(system, beginning.start, name_of(sizes), torch.device("cpu"), tokenizer.pieces)
    tokenizer.save(out)
    write_folder(out, system.finished(), config)
    tracker.progress(1, 1, unit="models")
    return Summary(counts={"parameters": parameter_count(system)})
