"""Scores of any model: a system of the recipes, or whatever open_clip loads."""

from pathlib import Path
from typing import Any

from vlp_core.data.tokens import tokenizer_of
from vlp_core.errors import UserError
from vlp_core.evals.encoder import Done, load_encoder, silent
from vlp_core.evals.evaluators import Suite, score
from vlp_core.evals.reader import Reader
from vlp_core.evals.settings import Evaluate
from vlp_core.evals.systems import measured_by, parts_of, score_system
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.load import is_system, load_system, sizes_of
from vlp_core.model_folder import read_config
from vlp_core.settings import named_path
from vlp_core.sizes import outline

WEIGHTS = (".safetensors", ".bin", ".pt")


def scores_of(
    model: Path | str,
    suite: Suite,
    evaluate: Evaluate,
    *,
    dual: Path | str | None = None,
    draw: Path | None = None,
    done: Done = silent,
    allow_download: bool = False,
) -> dict[str, float]:
    """All scores of a model: a folder of ours, an open_clip export, or any checkpoint of open_clip's as ARCH:FILE; none
    where it has no part for what is in the suite.

    Args:
        dual: named alike; brings the candidates that a fusion without two towers of its own ranks.
        draw: a folder for the pictures of what was found.

    Raises:
        UserError: a model that cannot be read.
    """
    if not is_system(Path(model)):
        encoder = load_encoder(model, evaluate, allow_download=allow_download)
        return score(encoder, suite.evaluators(draw=draw, queries=evaluate.queries, done=done))
    system, tokenizer, config = load_system(Path(model))
    parts = parts_of(system)
    reader = Reader.of(system, tokenizer, config["preprocess"], evaluate, name=str(model))
    asked = dual is not None and parts.matches and not parts.compares
    brings = load_encoder(dual, evaluate, allow_download=allow_download) if asked and dual is not None else None
    return score_system(reader, suite, dual=brings, draw=draw, done=done)


def data_digest(model: Path | str, suite: Suite, evaluate: Evaluate, *, dual: Path | str | None = None) -> str:
    """What two scores have to have in common to be compared: the data, the precision, and for a fusion what decides
    which pairs it is asked about, and for what reads behind masks its tokens; who brings candidates counts for those
    systems alone that rank them."""
    decided: list[Any] = [] if evaluate.precision == "fp32" else [evaluate.precision]
    if is_system(Path(model)) and suite.retrieval is not None:
        config = read_config(Path(model))
        parts = parts_of(outline(sizes_of(config)))
        ranks_them = dual is not None and parts.matches and not parts.compares
        brings = _weights(str(dual)) if ranks_them else None
        tokens = _tokens(config, Path(model)) if parts.reads else None
        decided.append(measured_by(parts, evaluate, brings, tokens))
    return digest_of([suite.digest, *decided]) if decided else suite.digest


def _tokens(config: dict[str, Any], folder: Path) -> str:
    """Of a model's tokenizer and the length at which it cuts."""
    return digest_of([config["tokenizer"], tokenizer_of(config["tokenizer"], folder).digest])


def _weights(spec: str) -> str:
    """The digest of a model's weights: those in its folder, or its file; UserError where there are none."""
    _, place = named_path(spec)
    files = [] if place is None else sorted(place.iterdir()) if place.is_dir() else [place]
    found = [sha256_of_file(file) for file in files if file.suffix in WEIGHTS or file == place]
    if not found:
        raise UserError(f"{spec}: holds no weights ({', '.join(WEIGHTS)}); give a model folder or an open_clip export")
    return digest_of(found)
