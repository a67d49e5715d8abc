"""The code MLflow keeps with a registered system: what it compares, matches and writes, from an export folder.

MLflow keeps the library beside it and runs this file by itself; no module of ours imports it.
"""

import base64
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
    with `match`, a probability; one that writes with `caption` of the picture.
    """

    def load_context(self, context: Any) -> None:
        from vlp_core.evals.reader import Reader
        from vlp_core.evals.settings import Evaluate
        from vlp_core.recipes.folder import load_system

        folder = Path(context.artifacts["export"])
        system, tokenizer, config = load_system(folder)
        self.reader = Reader.of(system, tokenizer, config["preprocess"], Evaluate(), name=folder.name)

    @torch.inference_mode()
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        columns = [column for column in ("text", "image") if column in model_input]
        if not columns:
            raise ValueError(f"give a column 'text', 'image' or both; there are {list(model_input.columns)}")
        parts = [self._answers(model_input.iloc[i : i + BATCH]) for i in range(0, len(model_input), BATCH)]
        return pd.DataFrame(
            {name: [value for part in parts for value in part[name]] for name in parts[0]}, index=model_input.index
        )

    def _answers(self, rows: pd.DataFrame) -> dict[str, list[Any]]:
        from vlp_core.capfilt import match_probability
        from vlp_core.generate import generate
        from vlp_core.objectives.captioning import Captioning
        from vlp_core.objectives.matching import Matching

        reader, answers = self.reader, {}
        texts = list(rows["text"]) if "text" in rows else None
        bodies = [_bytes(image) for image in rows["image"]] if "image" in rows else None
        pixels = None if bodies is None else reader.pixels(bodies)
        if reader.system.compares and texts is not None:
            answers["text_embedding"] = reader.model.encode_text(self._tokens(texts)).tolist()
        if reader.system.compares and pixels is not None:
            answers["image_embedding"] = reader.model.encode_image(reader.model.normalise(pixels)).tolist()
        if reader.objective(Matching) is not None and texts is not None and pixels is not None:
            own = torch.arange(len(texts), device=reader.device)
            answers["match"] = match_probability(reader.system, pixels, self._tokens(texts), own).tolist()
        if reader.objective(Captioning) is not None and pixels is not None:
            answers["caption"] = [reader.tokenizer.text(row) for row in generate(reader.system, pixels).tolist()]
        if not answers:
            raise ValueError("this system says nothing of these columns alone: it matches a 'text' with an 'image'")
        return answers

    def _tokens(self, texts: list[str]) -> torch.Tensor:
        return self.reader.tokenizer(texts).to(self.reader.device)


def _bytes(image: Any) -> bytes:
    return base64.b64decode(image) if isinstance(image, str) else bytes(image)


set_model(SystemModel())
