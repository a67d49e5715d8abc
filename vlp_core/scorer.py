"""Which model scores pictures and captions, known before anything is made: by its weights, wherever they lie."""

import json
import zipfile
from pathlib import Path
from typing import Any

from vlp_core.curation.score_settings import Scorer
from vlp_core.errors import UserError
from vlp_core.identity import digest_of
from vlp_core.model_folder import CONFIG_FILE, EXPORT_CONFIG, LOCAL_DIR, WEIGHTS_FILE, read_config

SUFFIXES = (".safetensors", ".bin", ".pt")
PICKLE = b"\x80"


def scorer_of(spec: str) -> Scorer:
    """The model that `spec` names: a model folder, an open_clip export, or a checkpoint as ARCH:FILE.

    Reads no weights. UserError where there is none, and where it cannot say how near a text is to a picture.
    """
    folder = Path(spec.removeprefix(LOCAL_DIR)).absolute()
    if (folder / EXPORT_CONFIG).is_file():
        return _export(folder)
    if folder.is_dir():
        return _trained(folder)
    return _checkpoint(spec)


def _export(folder: Path) -> Scorer:
    try:
        config = json.loads((folder / EXPORT_CONFIG).read_text())
        described = _described(config["model_cfg"], config.get("preprocess_cfg"), config.get("tokenizer"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: not an export of open_clip ({EXPORT_CONFIG}: {error!r})") from error
    return Scorer(place=str(folder), description=described, weights=_weights(folder))


def _trained(folder: Path) -> Scorer:
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"{folder}: no model ({CONFIG_FILE} of a trained one, or {EXPORT_CONFIG} of an export); give one"
        )
    config = read_config(folder)
    if "open_clip" in config:
        described = _described(config["open_clip"]["model_cfg"], config["preprocess"], config["tokenizer"])
        return Scorer(place=str(folder), description=described, weights=_weights(folder))
    from vlp_core.load import sizes_of
    from vlp_core.sizes import outline

    if not outline(sizes_of(config)).compares:
        name = config["recipe"].get("name")
        raise UserError(
            f"{folder}: a {name} has no two towers whose vectors can be compared, so it cannot score; "
            "give a clip, or another system with retrieval scores of its own"
        )
    described = _described(config["recipe"], config["preprocess"], config["tokenizer"])
    pieces = [file for file in (folder / "tokenizer.json",) if file.is_file()]
    return Scorer(place=str(folder), description=described, weights=(*_weights(folder), *pieces))


def _checkpoint(spec: str) -> Scorer:
    from vlp_core.evals.encoder import check_checkpoint

    architecture, file = check_checkpoint(spec)
    _check_weights(Path(file))
    place = Path(file).absolute()
    return Scorer(place=f"{architecture}:{place}", description=_described(architecture, None, None), weights=(place,))


def _described(model: Any, preprocess: Any, tokenizer: Any) -> str:
    return digest_of({"model": model, "preprocess": preprocess, "tokenizer": tokenizer})


def _weights(folder: Path) -> tuple[Path, ...]:
    files = tuple(sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES))
    if not files:
        raise UserError(f"{folder}: holds no weights ({WEIGHTS_FILE}); train again or give another folder")
    for file in files:
        _check_weights(file)
    return files


def _check_weights(file: Path) -> None:
    """UserError for a file that holds no weights, by how it begins."""
    with file.open("rb") as opened:
        begins = opened.read(8)
    size = int.from_bytes(begins, "little")
    safetensors = file.suffix == ".safetensors" and 2 <= size <= file.stat().st_size - 8
    if not safetensors and not begins.startswith(PICKLE) and not zipfile.is_zipfile(file):
        raise UserError(f"{file}: no checkpoint (neither safetensors nor torch's); give a file of weights")
