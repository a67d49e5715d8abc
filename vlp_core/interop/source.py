"""What a user may name: folders of Hugging Face's, timm's encoders, files of open_clip's, a CLIP trained here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from vlp_core.errors import UserError, nearest
from vlp_core.interop import PICTURES, TEXTS, WHOLES, open_clip, timm
from vlp_core.interop.folder import CONFIG_FILE, config_in, pieces_in, pixels_in, weight_files, weights_in
from vlp_core.interop.trained import Picture, Text, Whole, pixels_of
from vlp_core.model_folder import read_config, read_weights
from vlp_core.needs import OPENAI_MEAN, OPENAI_STD
from vlp_core.settings import HUB
from vlp_core.towers import architecture, published_preprocess

Pieces = dict[str, int] | None


def picture_of(source: str) -> Picture:
    """The encoder of pictures that a source is or has."""
    if source.startswith(HUB):
        name, _, file = source.removeprefix(HUB).partition(":")
        return timm.tower(name, Path(file) if file else None)
    folder = Path(source)
    config = config_in(folder)
    if config is not None and "model_type" in config:
        kind = config["model_type"]
        if kind not in PICTURES:
            raise UserError(f"a {kind} is no encoder of pictures that is known{nearest(kind, PICTURES)}")
        return replace(PICTURES[kind](weights_in(folder), config), pixels=pixels_in(folder))
    if config is not None:
        tower = timm.tower(config["architecture"], weight_files(folder)[0])
        return replace(tower, pixels=pixels_of(config.get("pretrained_cfg", {})) or tower.pixels)
    if (folder / CONFIG_FILE).is_file():
        own = read_config(folder)
        if "open_clip" not in own:
            raise UserError(f"a {own['recipe'].get('name')}, of whose parts none goes elsewhere; give a CLIP")
        tower = open_clip.tower(read_weights(folder), own["open_clip"]["model_cfg"])
        return replace(tower, pixels=pixels_of(own["preprocess"]))
    name, _, file = source.partition(":")
    if not file:
        raise UserError("neither a model of Hugging Face's nor a CLIP is in it")
    tower = open_clip.tower(open_clip.read_weights(Path(file)), architecture(name))
    return replace(tower, pixels=pixels_of({"mean": OPENAI_MEAN, "std": OPENAI_STD} | published_preprocess(name)))


def text_of(source: str) -> tuple[Text, Pieces]:
    """The encoder of texts in a folder, and its word pieces, where they lie there too."""
    config = config_in(Path(source)) or {}
    kind = config.get("model_type", "file or folder without model_type")
    if kind not in TEXTS:
        raise UserError(f"a {kind} is no encoder of texts that is known{nearest(kind, TEXTS)}")
    return TEXTS[kind](weights_in(Path(source)), config), pieces_in(Path(source))


def whole_of(folder: Path) -> tuple[Whole, Pieces]:
    """The system in a folder of Hugging Face's, and its word pieces, where they lie there too."""
    config = config_in(folder) or {}
    kind = config.get("model_type", "timm")
    if kind in {"timm", *TEXTS, *PICTURES} - WHOLES.keys():
        raise UserError(f"a {kind} is a part of a system; give {'text' if kind in TEXTS else 'image'}={folder}")
    if kind not in WHOLES:
        raise UserError(f"a {kind} is no system that is known{nearest(kind, WHOLES)}")
    whole, pieces = WHOLES[kind](weights_in(folder), config), pieces_in(folder)
    return whole, None if pieces is None else {**whole.words, **pieces}


@contextmanager
def told_of(origin: str) -> Iterator[None]:
    """What is wrong is told of what the user named."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{origin}: {error}") from error
    except KeyError as error:
        raise UserError(f"{origin}: lacks {error.args[0]}; give what its library saved whole") from error
