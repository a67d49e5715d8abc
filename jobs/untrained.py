"""untrained: a model as it was before its first step, to be scored beside what became of it.

Where a run starts from weights that exist (--train.start), it is as those made it: what training adds to them shows.
"""

from pathlib import Path

from vlp_core.tracker import Summary, Tracker

VERSION = "3"


def run(*, model: Path, seed: int, start: tuple[str, ...] = (), out: Path, tracker: Tracker) -> Summary:
    """Write the model folder `model` once more, with the weights that a run of this seed and start begins with.

    `start` is --train.start; UserError where its weights are gone.
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
    system = fresh_system(sizes, tokenizer.vocabulary, seed)
    if start:
        load_start(system, start, name_of(sizes), torch.device("cpu"), tokenizer.pieces)
    tokenizer.save(out)
    write_folder(out, system.finished(), config)
    tracker.progress(1, 1, unit="models")
    return Summary(counts={"parameters": parameter_count(system)})
