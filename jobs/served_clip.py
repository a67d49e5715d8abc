"""The code MLflow keeps with a registered model: embeddings of texts and pictures, from open_clip and an export folder.

MLflow runs this file by itself, on machines that have none of our packages; no module of ours imports it.
"""

import base64
import io
from typing import Any

import open_clip
import pandas as pd
import torch
import torch.nn.functional as F
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from PIL import Image

BATCH = 64


class Embeddings(PythonModel):
    """A row with `text`, `image` (encoded bytes or base64) or both gives unit vectors as `…_embedding`."""

    def load_context(self, context: Any) -> None:
        folder = f"local-dir:{context.artifacts['export']}"
        model, self.transform = open_clip.create_model_from_pretrained(folder)
        self.model = model.eval()
        self.tokenize = open_clip.get_tokenizer(folder)

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        answers = {}
        for column, encode in (("text", self._texts), ("image", self._images)):
            if column in model_input:
                answers[f"{column}_embedding"] = self._column(list(model_input[column]), encode)
        if not answers:
            raise ValueError(f"give a column 'text', 'image' or both; there are {list(model_input.columns)}")
        return pd.DataFrame(answers, index=model_input.index)

    @torch.inference_mode()
    def _column(self, values: list[Any], encode: Any) -> list[list[float] | None]:
        """A missing value has no embedding."""
        answers: list[list[float] | None] = [None] * len(values)
        there = [row for row, value in enumerate(values) if isinstance(value, (str, bytes, bytearray))]
        for start in range(0, len(there), BATCH):
            rows = there[start : start + BATCH]
            vectors = F.normalize(encode([values[row] for row in rows]).float(), dim=-1)
            for row, vector in zip(rows, vectors.tolist(), strict=True):
                answers[row] = vector
        return answers

    def _texts(self, texts: list[str]) -> torch.Tensor:
        return self.model.encode_text(self.tokenize(texts))

    def _images(self, images: list[Any]) -> torch.Tensor:
        bodies = (base64.b64decode(image) if isinstance(image, str) else bytes(image) for image in images)
        pictures = [self.transform(Image.open(io.BytesIO(body)).convert("RGB")) for body in bodies]
        return self.model.encode_image(torch.stack(pictures))


set_model(Embeddings())
