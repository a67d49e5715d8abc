"""The untrained self: what a run of the same seed, and of the same start, begins with."""

from pathlib import Path

import torch

from jobs import untrained
from tests.vlp_core.evals.builders import system_folder
from vlp_core.data.tokens import WORDPIECE_FILE, tokenizer_of, train_word_pieces
from vlp_core.load import load_system
from vlp_core.model_folder import read_config, read_weights, write_folder
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.sizes import fresh_system
from vlp_core.tracker import Silent


def test_it_has_the_first_weights_of_its_seed_or_those_that_training_starts_from(tmp_path: Path) -> None:
    train_word_pieces(["a red picture"], 60).save(str(tmp_path / WORDPIECE_FILE))
    model, start = system_folder("vilt", tmp_path, tmp_path / "model"), tmp_path / "start"
    start.mkdir()
    write_folder(start, {name: value + 1 for name, value in read_weights(model).items()}, read_config(model))
    for name, source in (("fresh", ()), ("started", (str(start),))):
        (tmp_path / name).mkdir()
        beginning = untrained.Beginning(seed=3, start=source)
        untrained.run(model=model, beginning=beginning, out=tmp_path / name, tracker=Silent())
        assert load_system(tmp_path / name)[0].training is False
    vocabulary = tokenizer_of(read_config(model)["tokenizer"], tmp_path).vocabulary
    expected = fresh_system(RECIPES["vilt"].TINY.system, vocabulary, 3).finished()
    torch.testing.assert_close(read_weights(tmp_path / "fresh"), expected)
    torch.testing.assert_close(read_weights(tmp_path / "started"), read_weights(start))
