"""The code MLflow keeps with a registered system: what it compares, matches and writes, from an export folder.

MLflow keeps the library beside it and runs this file by itself; no module of ours imports it.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

BATCH = 64


class SystemModel(PythonModel):
    """A row with `text`, `image` (encoded bytes or base64) or both.

    A system that compares answers with `text_embedding` and `image_embedding`; one that matches, where both are given,
    with `match`, its probability among pairs of which half match; one that writes with `caption` of the picture. Of a
    missing value nothing is said.
    """

    def load_context(self, context: Any) -> None:
        from vlp_core.evals.reader import Reader
        from vlp_core.evals.settings import Evaluate
        from vlp_core.load import load_system

        folder = Path(context.artifacts["export"])
        system, tokenizer, config = load_system(folder)
        self.reader = Reader.of(system, tokenizer, config["preprocess"], Evaluate(), name=folder.name)

    @torch.inference_mode()
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        columns = [column for column in ("text", "image") if column in model_input]
        if not columns:
            raise ValueError(f"give a column 'text', 'image' or both; there are {list(model_input.columns)}")
        starts = range(0, max(len(model_input), 1), BATCH)
        parts = [self._answers(model_input.iloc[start : start + BATCH]) for start in starts]
        return pd.DataFrame(
            {name: [value for part in parts for value in part[name]] for name in parts[0]}, index=model_input.index
        )

    def _answers(self, rows: pd.DataFrame) -> dict[str, list[Any]]:
        from vlp_core.objectives.captioning import Captioning
        from vlp_core.objectives.matching import Matching

        compares, matches, writes = (
            self.reader.system.compares,
            self.reader.objective(Matching) is not None,
            self.reader.objective(Captioning) is not None,
        )
        texts, images = _there(rows, "text", str), _there(rows, "image", str, bytes, bytearray)
        pixels = dict(zip(images, self.reader.pixels(map(_bytes, images.values())), strict=True)) if images else {}
        both = {row: (texts[row], pixels[row]) for row in texts if row in pixels}
        asked: dict[str, tuple[dict[int, Any], Callable[[list[Any]], list[Any]]]] = {}
        if compares and "text" in rows:
            asked["text_embedding"] = texts, self._text_vectors
        if compares and "image" in rows:
            asked["image_embedding"] = pixels, self._image_vectors
        if matches and "text" in rows and "image" in rows:
            asked["match"] = both, self._probabilities
        if writes and "image" in rows:
            asked["caption"] = pixels, self._captions
        if not asked:
            raise ValueError("this system says nothing of these columns alone: it matches a 'text' with an 'image'")
        answers = {}
        for name, (given, answer) in asked.items():
            found = dict(zip(given, answer(list(given.values())), strict=True)) if given else {}
            answers[name] = [found.get(row) for row in range(len(rows))]
        return answers

    def _text_vectors(self, texts: list[str]) -> list[Any]:
        return self.reader.model.encode_text(self._tokens(texts)).tolist()

    def _image_vectors(self, pixels: list[torch.Tensor]) -> list[Any]:
        model = self.reader.model
        return model.encode_image(model.normalise(torch.stack(pixels))).tolist()

    def _probabilities(self, pairs: list[tuple[str, torch.Tensor]]) -> list[Any]:
        from vlp_core.capfilt import match_odds
        from vlp_core.objectives.matching import Matching

        texts, pixels = zip(*pairs, strict=True)
        own = torch.arange(len(pairs), device=self.reader.device)
        odds = match_odds(self.reader.system, torch.stack(pixels), self._tokens(list(texts)), own)
        objective = self.reader.objective(Matching)
        assert objective is not None
        return (odds - objective.prior).sigmoid().tolist()

    def _captions(self, pixels: list[torch.Tensor]) -> list[Any]:
        from vlp_core.generate import generate

        written = generate(self.reader.system, torch.stack(pixels))
        return [self.reader.tokenizer.text(row) for row in written.tolist()]

    def _tokens(self, texts: list[str]) -> torch.Tensor:
        return self.reader.tokenizer(texts).to(self.reader.device)


def _there(rows: pd.DataFrame, column: str, *kinds: type) -> dict[int, Any]:
    """The values of a column by their rows, without those that are missing."""
    return {row: value for row, value in enumerate(rows.get(column, ())) if isinstance(value, kinds)}


def _bytes(image: Any) -> bytes:
    return base64.b64decode(image) if isinstance(image, str) else bytes(image)


set_model(SystemModel())
