"""The export: a folder that open_clip loads as `local-dir:`, or a model folder where it cannot, with a card that
says what the model is made of."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlp_core.errors import UserError
from vlp_core.files import replacing, write_text
from vlp_core.train.trained_on import distinct, write_selections

CARD = "README.md"
SYSTEM_CONFIG, SYSTEM_FILES = "config.json", ("model.safetensors", "config.json", "tokenizer.json")

USAGE_OF_A_SYSTEM = """```python
from pathlib import Path
from vlp_core.load import load_system

system, tokenizer, config = load_system(Path("PATH/TO/THIS/FOLDER"))
```"""
USAGE = """```python
import open_clip

model, preprocess = open_clip.create_model_from_pretrained("local-dir:PATH/TO/THIS/FOLDER")
tokenize = open_clip.get_tokenizer("local-dir:PATH/TO/THIS/FOLDER")
```"""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a card is written from: config.json of the model, selection.json, and scores with their data's digest; and
    the digests of the selections that its start was trained on."""

    name: str
    config: Mapping[str, Any]
    selection: Mapping[str, Any]
    scores: Mapping[str, float]
    data_digest: str
    start: tuple[str, ...] = ()

    @property
    def selections(self) -> tuple[str, ...]:
        """The digests of all that it was trained on, its own first."""
        return distinct([self.selection.get("digest"), *self.start])


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError for a file that is missing or holds no JSON object."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); delete it and run its step again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object; delete it and run its step again")
    return content


def write_export(folder: Path, model: Path, sources: Sources) -> None:
    """The model folder's weights under open_clip's name, open_clip_config.json (with what tokenizer it takes) and
    README.md; of a system that open_clip does not know, its own files and README.md; and what it was trained on."""
    from vlp_core.model_folder import EXPORT_CONFIG, EXPORT_WEIGHTS

    folder.mkdir(parents=True, exist_ok=True)
    write_selections(folder, sources.selections)
    if "open_clip" not in sources.config:
        for file in (model / name for name in SYSTEM_FILES):
            if file.exists():
                with replacing(folder / file.name) as temporary:
                    shutil.copyfile(file, temporary)
        write_text(folder / CARD, card_of_a_system(sources))
        return
    with replacing(folder / EXPORT_WEIGHTS) as temporary:
        shutil.copyfile(model / "model.safetensors", temporary)
    config = {**sources.config["open_clip"], "tokenizer": sources.config.get("tokenizer", {})}
    write_text(folder / EXPORT_CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    write_text(folder / CARD, card(sources))


def card(sources: Sources) -> str:
    """The model card: front matter as the Hugging Face hub reads it, then data, recipe, scores and usage."""
    architecture = sources.config["open_clip"]["model_cfg"]
    vision, text = architecture["vision_cfg"], architecture["text_cfg"]
    return f"""---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags:
- clip
---

# {sources.name}

A contrastive image-text model (CLIP): pictures of {vision.get("image_size", 224)} pixels and texts of up to \
{text.get("context_length", 77)} tokens to unit vectors of {architecture["embed_dim"]} dimensions.

{_made_of(sources, USAGE)}"""


def card_of_a_system(sources: Sources) -> str:
    """The model card of a system by its recipe's name."""
    recipe = str(sources.config["recipe"]["name"])
    return f"""---
library_name: vlp
tags:
- {recipe}
---

# {sources.name}

A vision-language model after the recipe `{recipe}`.

{_made_of(sources, USAGE_OF_A_SYSTEM)}"""


def _made_of(sources: Sources, usage: str) -> str:
    return f"""## Data

{_table(("selection", "value"), _flat(sources.selection))}
{_started(sources)}
## Recipe

{_table(("setting", "value"), _flat(sources.config.get("recipe", {})))}

## Scores

{scores_table(sources.scores)}

On evaluation data with the digest `{sources.data_digest}`.

## Usage

{usage}
"""


def _started(sources: Sources) -> str:
    named = ", ".join(f"`{digest}`" for digest in sources.start)
    return f"\nIt was started from what was trained on the selections {named}.\n" if named else ""


def scores_table(scores: Mapping[str, float]) -> str:
    """Each score with its chance beside, as a Markdown table."""
    rows = {
        name: (f"{value:.4f}", f"{scores[f'{name}_chance']:.4f}" if f"{name}_chance" in scores else "")
        for name, value in sorted(scores.items())
        if not name.endswith("_chance")
    }
    return _table(("score", "value", "chance"), rows)


def _flat(value: Any, prefix: str = "") -> dict[str, tuple[str, ...]]:
    """Nested settings as dotted names."""
    if isinstance(value, Mapping) and (value or not prefix):
        rows: dict[str, tuple[str, ...]] = {}
        for key in sorted(value):
            rows |= _flat(value[key], f"{prefix}.{key}" if prefix else str(key))
        return rows
    return {prefix: (value if isinstance(value, str) else json.dumps(value, sort_keys=True),)}


def _table(header: tuple[str, ...], rows: Mapping[str, tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *((name, *values) for name, values in rows.items())]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
