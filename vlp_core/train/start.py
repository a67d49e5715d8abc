"""Weights that a run starts from: a model, a checkpoint of another run, or what other libraries have trained."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch

from vlp_core.dual_encoder import DualEncoder
from vlp_core.errors import UserError, first_line
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.interop.fit import Rows, put
from vlp_core.interop.folder import config_in, files_of
from vlp_core.interop.place import Placed, place_picture, place_text, place_whole
from vlp_core.interop.source import Pieces, picture_of, text_of, told_of, whole_of
from vlp_core.model_folder import CONFIG_FILE, EXPORT_CONFIG, EXPORT_WEIGHTS, WEIGHTS_FILE, read_config, read_weights
from vlp_core.nn.momentum import Momentum
from vlp_core.settings import named_path
from vlp_core.sizes import SystemSizes, config_of, name_of, outline, sizes_from
from vlp_core.system import FOR_TRAINING, System
from vlp_core.towers import architecture
from vlp_core.train import engine
from vlp_core.train.checkpoint import STATE_FILE, Checkpoints
from vlp_core.train.settings import sources_of

_WAYS = (
    "give a model folder, an export, a folder with checkpoints, one of Hugging Face's, or ARCHITECTURE:FILE for "
    "open_clip's"
)


def load_start(
    system: System,
    start: Sequence[str],
    recipe: str,
    device: torch.device,
    pieces: Mapping[str, int] | None = None,
) -> list[str]:
    """Put the weights that `start` names into the system; UserError where there are none or they do not fit.

    `recipe` is the name of the system's; `device` is the one that will train; the system stays where it is. `pieces`
    numbers the word pieces that it reads. Returns what the user should know: a line for each source that has not all.
    """
    check_recipe(start, recipe)
    told: list[str] = []
    for part, source in sources_of(tuple(start)).items():
        if part is None and config_in(Path(source)) is None:
            _load_own(system, source, device)
            continue
        origin = _origin(part, source)
        with told_of(origin):
            placed, theirs = _placed(system, part, source)
            rows = Rows.of(pieces, theirs) if pieces and theirs else None
            weights = system.model.clip if isinstance(system.model, DualEncoder) else system
            put(weights.state_dict(), placed, rows)
        told += [f"{origin}: {line}" for line in _lacking(system, part, placed, pieces, rows)]
    for twin in system.twins:
        twin.reset()
    return told


def check_recipe(start: Sequence[str], recipe: str) -> None:
    """UserError where `start` names what another recipe has trained; no weights are read for it."""
    for source, theirs in _own(start):
        if theirs.get("name") != recipe:
            raise UserError(
                f"--train.start {source}: this is a {theirs.get('name')}, and a {recipe} is trained; "
                f"give what {recipe} has trained"
            )


def check_own(sizes: SystemSizes, start: Sequence[str]) -> None:
    """UserError where `start` names what another recipe has trained, or this one at sizes that give other weights; none
    are read for it."""
    check_recipe(start, name_of(sizes))
    for source, theirs in _own(start):
        with told_of(f"--train.start {source}"):
            form = _form(outline(sizes_from(type(sizes), theirs)))
        if form != _form(outline(sizes)):
            ours = {key: list(value) if isinstance(value, tuple) else value
                    for key, value in config_of(sizes)["recipe"].items()}  # fmt: skip
            flags = " ".join(_flag(key, value) for key, value in theirs.items() if value != ours[key])
            raise UserError(f"--train.start {source}: has other sizes; give its own ({flags}), or a model of these")


def check_start(sizes: SystemSizes, start: Sequence[str]) -> None:
    """UserError where what `start` names is of another kind or of other sizes than the system; what would be downloaded
    is not looked at."""
    check_own(sizes, start)
    system = outline(sizes)
    for part, source in sources_of(tuple(start)).items():
        if part is None and config_in(Path(source)) is None:
            if not Path(source).is_dir() or _is_export(Path(source)):
                _check_open_clip(system, source)
        elif isinstance(system.model, DualEncoder) or named_path(source)[1] is not None:
            with told_of(_origin(part, source)):
                _placed(system, part, source)


def identify_start(start: Sequence[str]) -> str:
    """A name for the weights that `start` names, equal where they are; UserError where there are none.

    What a hub has is known by its name alone.
    """
    return ", ".join(_identity(word) for word in start)


def _identity(word: str) -> str:
    before, path = named_path(word)
    if path is None:
        return word
    with told_of(f"--train.start {word}"):
        if path.is_file():
            digest = sha256_of_file(path)
        elif config_in(path) is not None:
            digest = digest_of({file.name: sha256_of_file(file) for file in files_of(path)})
        else:  # a checkpoint's state holds the digests of its other files
            content = _content(path)
            if not content.is_file():
                raise UserError(f"{content.name} is not there; {_WAYS}")
            digest = sha256_of_file(content)
    return f"{before}{path.resolve().name} ({digest[:16]})"


def _content(folder: Path) -> Path:
    """The file that tells weights from others."""
    if (folder / CONFIG_FILE).is_file():
        return folder / WEIGHTS_FILE
    return folder / EXPORT_WEIGHTS if _is_export(folder) else _checkpoint_in(folder) / STATE_FILE


def _is_export(folder: Path) -> bool:
    return (folder / EXPORT_CONFIG).is_file()


def _own(start: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `start` names that was trained here: each with the recipe, its name and sizes as JSON has them."""
    for part, source in sources_of(tuple(start)).items():
        folder = Path(source)
        if part is not None or config_in(folder) is not None or not folder.is_dir() or _is_export(folder):
            continue
        if (folder / CONFIG_FILE).is_file():
            yield source, read_config(folder)["recipe"]
            continue
        with told_of(f"--train.start {source}"):
            settings = json.loads((_checkpoint_in(folder) / STATE_FILE).read_text())["settings"]
        prefix = "recipe."
        yield source, {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def _form(system: System) -> dict[str, Any]:
    """The shape of each weight of a finished system, and the heads of each attention, of which no shape tells."""
    form: dict[str, Any] = {name: weight.shape for name, weight in system.state_dict().items()}
    for name, part in system.named_modules():
        form |= {f"{name}.{key}": vars(part)[key] for key in ("heads", "num_heads") if key in vars(part)}
    left = tuple(f"{name}." for name, part in system.named_modules() if isinstance(part, FOR_TRAINING))
    return {name: value for name, value in form.items() if not name.startswith(left)}


def _flag(key: str, value: Any) -> str:
    words = value if isinstance(value, list) else [value]
    return " ".join([f"--model.{key.replace('_', '-')}", *(str(word) for word in words)])


def _origin(part: str | None, source: str) -> str:
    return f"--train.start {part}={source}" if part else f"--train.start {source}"


def _placed(system: System, part: str | None, source: str) -> tuple[Placed, Pieces]:
    if part is not None and isinstance(system.model, DualEncoder):
        raise UserError("a dual encoder is started as a whole; give one source without PART=")
    if part == "image":
        return place_picture(system, picture_of(source)), None
    if part == "text":
        text, theirs = text_of(source)
        return place_text(system, text), theirs
    whole, theirs = whole_of(Path(source))
    return place_whole(system, whole), theirs


def _lacking(
    system: System, part: str | None, placed: Placed, pieces: Mapping[str, int] | None, rows: Rows | None
) -> list[str]:
    """What begins fresh though it could have been expected not to."""
    told = [placed.note] if placed.note else []
    if pieces and rows is not None and len(rows.ours) < len(pieces):
        told.append(f"has {len(rows.ours)} of the {len(pieces)} word pieces; the others begin fresh")
    if part is None and not isinstance(system.model, DualEncoder):
        twins = tuple(f"{name}." for name, inside in system.named_modules() if isinstance(inside, Momentum))
        fresh = [name for name, _ in system.named_parameters() if name not in placed.state]
        parts = sorted({".".join(name.split(".")[:2]) for name in fresh if not name.startswith(twins)})
        if parts:
            told.append(f"has not all of {', '.join(parts)}; what it lacks begins fresh")
    return told


def _load_own(system: System, source: str, device: torch.device) -> None:
    """A model or a checkpoint that was trained here, or all of a CLIP of open_clip's, as exports are."""
    folder = Path(source)
    if (folder / CONFIG_FILE).is_file():
        system.load_finished(read_weights(folder), origin=source)
    elif _is_export(folder):
        _load_open_clip(_check_open_clip(system, source), "CLIP", folder / EXPORT_WEIGHTS, source)
    elif folder.is_dir():
        with told_of(f"--train.start {source}"):
            folder = _checkpoint_in(folder)
        system.load_trained(engine.read_weights(folder, device), origin=str(folder))
    else:
        name, _, file = source.partition(":")
        _load_open_clip(_check_open_clip(system, source), name, Path(file), source)


def _checkpoint_in(folder: Path) -> Path:
    if (folder / STATE_FILE).is_file():
        return folder
    found = Checkpoints(folder).newest()
    if found is None:
        raise UserError(f"neither a model nor a checkpoint is in it; {_WAYS}")
    return found.folder


def _check_open_clip(system: System, source: str) -> DualEncoder:
    """The dual encoder that ARCHITECTURE:FILE, or an export, is of; UserError where the system is another."""
    model, name = system.model, source.partition(":")[0]
    if not isinstance(model, DualEncoder):
        raise UserError(f"--train.start {source}: a file is of one encoder; give image={source}")
    if _is_export(Path(source)):
        with told_of(f"--train.start {source}"):
            theirs = json.loads((Path(source) / EXPORT_CONFIG).read_text())["model_cfg"]
        if theirs != model.config["model_cfg"]:
            raise UserError(f"--train.start {source}: has other sizes than the recipe's model; give its own")
    elif architecture(name) != model.config["model_cfg"]:
        raise UserError(
            f"--train.start {source}: the recipe's model is another; set its open_clip to {name} and its loss to "
            "softmax"
        )
    return model


def _load_open_clip(model: DualEncoder, name: str, file: Path, source: str) -> None:
    try:
        open_clip.load_checkpoint(model.clip, str(file))
    except Exception as error:  # torch and safetensors have many kinds for a file that is not theirs
        raise UserError(f"--train.start {source}: not weights of a {name} ({first_line(error)})") from error
