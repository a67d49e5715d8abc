"""How near captions are to their pictures, by any model that compares the two."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from vlp_core.curation.scores import Floats
from vlp_core.dual_encoder import DualEncoder
from vlp_core.errors import UserError
from vlp_core.evals.encoder import Encoder, load_encoder
from vlp_core.evals.reader import Reader
from vlp_core.evals.settings import Evaluate
from vlp_core.load import is_system, load_system
from vlp_core.model import VLModel


def encoder_of(place: str, settings: Evaluate) -> Encoder:
    """The encoder of a model folder, an export or ARCH:FILE; UserError where it cannot be read or has no two towers."""
    if not is_system(Path(place)):
        return load_encoder(place, settings)
    system, tokenizer, config = load_system(Path(place))
    if not system.compares:
        raise UserError(f"{place}: a {config['recipe'].get('name')} has no two towers, so it cannot score; give a clip")
    return Reader.of(system, tokenizer, config["preprocess"], settings, name=place).encoder()


def scored(encoder: Encoder, bodies: Iterable[bytes], captions: pa.ListArray) -> tuple[Floats, Floats]:
    """Cosines of N pictures with their captions [captions], and the pictures' unit vectors [N, D].

    `bodies` are the encoded pictures. CLIP score without its factor (Hessel et al., 2021, arXiv:2104.08718), as the
    thresholds of LAION and DataComp are given. UserError for a picture that cannot be decoded.
    """
    pictures = encoder.images(bodies).numpy()
    if not len(pictures):
        pictures = np.empty((0, encoder.texts([""]).shape[1]), np.float32)
    words = pc.dictionary_encode(pc.list_flatten(captions))
    if not len(words):
        return np.empty(0, np.float32), pictures
    texts = encoder.texts(words.dictionary.to_pylist()).numpy()[words.indices.to_numpy()]
    owner = pc.list_parent_indices(captions).to_numpy()
    return np.einsum("md,md->m", pictures[owner], texts), pictures


def scale_of(encoder: Encoder) -> float:
    """The factor that the model's similarities have before a softmax."""
    model = encoder.model
    with torch.inference_mode():
        scale = model.scale() if isinstance(model, DualEncoder | VLModel) else model.logit_scale.exp()
    return float(scale)
