"""untrained: a model as it was before its first step, to be scored beside what became of it."""

from pathlib import Path

from vlp_core.tracker import Summary, Tracker

VERSION = "1"


def run(*, model: Path, seed: int, out: Path, tracker: Tracker) -> Summary:
    """Write the model folder `model` once more, with the weights that a run of this seed begins with."""
    from vlp_core.data.tokens import tokenizer_of
    from vlp_core.model_folder import read_config, write_folder
    from vlp_core.recipes.folder import sizes_of
    from vlp_core.sizes import fresh_system

    config = read_config(model)
    tokenizer = tokenizer_of(config["tokenizer"], model)
    weights = fresh_system(sizes_of(config), tokenizer.vocabulary, seed).finished()
    tokenizer.save(out)
    write_folder(out, weights, config)
    tracker.progress(1, 1, unit="models")
    return Summary(counts={"parameters": sum(value.numel() for value in weights.values())})
