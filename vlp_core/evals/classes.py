"""The classes of zero-shot classification and the prompts they are worded by, as a user gives them."""

import json
from dataclasses import dataclass
from pathlib import Path

from vlp_core.curation.lists import files_of, open_list
from vlp_core.curation.settings import Ingest
from vlp_core.errors import UserError, nearest

CLASSES_FILE = "classes.json"
LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The names to choose from, and the templates (each with one `{}`) they are worded by."""

    names: tuple[str, ...]
    templates: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Classes":
        """Read `{"classes": [...], "templates": ["a photo of a {}", ...]}`: a file, or classes.json in a folder.

        Raises:
            UserError: no such file, not that JSON, a name twice, or a template without `{}`.
        """
        path = path / CLASSES_FILE if path.is_dir() else path
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file; give a JSON file with classes and templates") from error
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); give another file") from error
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error})") from error
        names, templates = (_texts(content, key, path) for key in ("classes", "templates"))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{path}: class {twice!r} is there twice; name each class once")
        for template in templates:
            if template.count("{}") != 1:
                raise UserError(f"{path}: template {template!r} must hold one {{}} where the class name goes")
        return cls(names=names, templates=templates)


def _texts(content: object, key: str, path: Path) -> tuple[str, ...]:
    texts = content.get(key) if isinstance(content, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(
            f'{path}: needs "{key}", a list of texts: {{"classes": [...], "templates": ["a photo of a {{}}"]}}'
        )
    return tuple(texts)


def check_labels(path: Path, classes: Classes | None) -> None:
    """UserError for a zero-shot list without labels, or with one that is not among the classes."""
    for file in files_of([path]):
        found = open_list(file, Ingest(needs_caption=False), recognise=True)
        columns = found.schema.names
        if LABEL not in columns:
            raise UserError(f"{file}: no column {LABEL!r} (there are {', '.join(columns)}); a zero-shot list needs one")
        if classes is None:
            continue
        for rows in found.batches():
            strangers = {str(label) for label in rows[LABEL].unique().to_pylist()} - set(classes.names)
            if strangers:
                label = min(strangers)
                raise UserError(f"{file}: label {label!r} is not among the classes{nearest(label, classes.names)}")
