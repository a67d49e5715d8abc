"""A finished system out of its folder."""

from pathlib import Path
from typing import Any

from vlp_core.data.tokens import Tokenizer, tokenizer_of
from vlp_core.model_folder import CONFIG_FILE, read_config, read_weights
from vlp_core.recipes.catalogue import recipe_of
from vlp_core.sizes import SystemSizes, sizes_from
from vlp_core.system import FOR_TRAINING, System


def sizes_of(config: dict[str, Any]) -> SystemSizes:
    """The recipe's sizes as a model's configuration keeps them; UserError where no recipe has that name or sizes."""
    return sizes_from(type(recipe_of(str(config["recipe"].get("name"))).system), config["recipe"])


def is_system(folder: Path) -> bool:
    """Whether the folder holds a system of ours that open_clip does not load."""
    return (folder / CONFIG_FILE).is_file() and "open_clip" not in read_config(folder)


def load_system(folder: Path) -> tuple[System, Tokenizer, dict[str, Any]]:
    """The system in evaluation mode, without what only training needs; its tokenizer and its configuration.

    UserError where the folder holds none.
    """
    config = read_config(folder)
    tokenizer = tokenizer_of(config["tokenizer"], folder)
    system = sizes_of(config).build(tokenizer.vocabulary)
    for module in list(system.modules()):
        for name, part in list(module.named_children()):
            if isinstance(part, FOR_TRAINING):  # a twin is as large as the model
                setattr(module, name, None)
    system.load_finished(read_weights(folder), origin=str(folder))
    return system.eval(), tokenizer, config
