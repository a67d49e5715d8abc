"""Zero-shot classification (Radford et al., 2021, section 3.1): the nearest class name, worded by prompt templates."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vlp_core.errors import UserError
from vlp_core.evals.encoder import Encoder
from vlp_core.evals.retrieval import TIE

CUTS = (1, 5)
CLASSES_FILE = "classes.json"


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


def classifier(encoder: Encoder, classes: Classes) -> Tensor:
    """One unit vector a class, float32 [C, D]: the mean of its texts' unit vectors, made unit again."""
    texts = [template.replace("{}", name) for name in classes.names for template in classes.templates]
    vectors = encoder.texts(texts).view(len(classes.names), len(classes.templates), -1)
    return F.normalize(vectors.mean(dim=1), dim=-1)


def before(images: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """How many wrong classes are at least as near as the right one, int64 [N]; top-k is right where that is below k.

    Args:
        images: unit vectors [N, D].
        weights: unit vectors [C, D] of the classes.
        labels: int64 [N].
    """
    scores = images @ weights.T
    right = scores.gather(1, labels[:, None])
    return (~(scores < right - TIE)).sum(1) - 1


def accuracies(wrong: Tensor, groups: Sequence[str | None], classes: int) -> Iterator[tuple[str, float]]:
    """Top-1 and top-5 with chance beside, over all pictures and by group; a k that no class list can fail is left out.

    Args:
        wrong: what `before` gives, [N].
        groups: the group of each picture; None: in no group.
        classes: how many there are to choose from.
    """
    names = sorted({group for group in groups if group is not None})
    parts = {"": torch.ones(len(wrong), dtype=torch.bool)}
    parts |= {f"{name}/": torch.tensor([group == name for group in groups]) for name in names}
    for prefix, part in parts.items():
        for k in CUTS:
            if k == 1 or k < classes:
                yield f"{prefix}top{k}", (wrong[part] < k).double().mean().item()
                yield f"{prefix}top{k}_chance", k / classes
