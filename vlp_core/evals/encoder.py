"""One way to ask any CLIP for unit vectors: ours, an open_clip export, or any open_clip checkpoint."""

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor

from vlp_core.data.tokens import tokenizer_of
from vlp_core.dual_encoder import load_dual_encoder
from vlp_core.errors import UserError, first_line, nearest
from vlp_core.evals.settings import Evaluate
from vlp_core.model_folder import CONFIG_FILE, EXPORT_CONFIG, LOCAL_DIR
from vlp_core.nn.precision import Precision, autocast
from vlp_core.towers import published_preprocess

Item = TypeVar("Item")
Done = Callable[[int], None]


class UndecodableError(UserError):
    """A picture cannot be decoded: its bytes, and what the decoder says."""

    body: bytes = b""
    reason: str = ""

    @classmethod
    def of(cls, body: bytes, error: Exception) -> "UndecodableError":
        told = cls(f"a picture of {len(body)} bytes cannot be decoded ({first_line(error)})")
        told.body, told.reason = body, first_line(error)
        return told


def silent(count: int) -> None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """A model in evaluation mode with its tokenizer and its picture transform.

    `model` has `encode_image(float [B, 3, H, W])` and `encode_text(int64 [B, L])`, as open_clip's models do;
    `tokenize` gives int64 [B, L]; `transform` takes a PIL picture to a normalised float [3, H, W].
    """

    name: str
    model: Any
    tokenize: Callable[[list[str]], Tensor]
    transform: Callable[[Image.Image], Tensor]
    batch_size: int = 128
    device: torch.device = torch.device("cpu")
    threads: int = 1
    precision: Precision = "fp32"

    def images(self, bodies: Iterable[bytes], *, done: Done = silent) -> Tensor:
        """Unit vectors float32 [N, D] on the CPU of encoded pictures; `done` is told the size of each batch.

        Raises:
            UserError: a body is no picture, or the vectors are not finite.
        """
        with ThreadPoolExecutor(self.threads) as pool:
            decoded = one_ahead(pool.map(self._decode, batch) for batch in batches(bodies, self.batch_size))
            return self._encode(self.model.encode_image, (torch.stack(list(batch)) for batch in decoded), done)

    def texts(self, texts: Iterable[str], *, done: Done = silent) -> Tensor:
        """Unit vectors float32 [N, D] on the CPU of texts; what is longer than the model's context is cut."""
        tokens = (self.tokenize(batch) for batch in batches(texts, self.batch_size))
        return self._encode(self.model.encode_text, tokens, done)

    def _decode(self, body: bytes) -> Tensor:
        try:
            with Image.open(io.BytesIO(body)) as picture:
                return self.transform(picture.convert("RGB"))
        except Exception as error:  # decoders raise what they like
            raise UndecodableError.of(body, error) from error

    @torch.inference_mode()
    def _encode(self, encode: Callable[[Tensor], Tensor], batches: Iterable[Tensor], done: Done) -> Tensor:
        vectors = []
        for batch in batches:
            with autocast(self.device, self.precision):
                encoded = encode(batch.to(self.device))
            encoded = F.normalize(encoded.float(), dim=-1).cpu()
            if not encoded.isfinite().all():
                raise UserError(f"{self.name}: the model gives vectors that are not finite; its training diverged")
            vectors.append(encoded)
            done(len(batch))
        return torch.cat(vectors) if vectors else torch.empty(0, 0)


def load_encoder(spec: str | Path, evaluate: Evaluate | None = None, *, allow_download: bool = False) -> Encoder:
    """The encoder that `spec` names.

    Args:
        spec: a model folder of ours (model.safetensors, config.json); an open_clip export folder, with or without
            `local-dir:` before it; or any open_clip checkpoint as `ARCH:FILE`. With `allow_download` also `ARCH:TAG`
            and `hf-hub:ORG/NAME`, which open_clip fetches.
        evaluate: batch size, device, threads and precision.

    Raises:
        UserError: there is no such model here, or reading it would need a download that was not allowed.
    """
    evaluate = evaluate or Evaluate()
    threads = threads_of(evaluate)
    torch.set_num_threads(threads)
    device = device_of(evaluate.device)
    model, tokenize, preprocess = _load(str(spec), allow_download)
    return Encoder(
        name=str(spec),
        model=model.to(device).eval(),
        tokenize=tokenize,
        transform=image_transform_v2(PreprocessCfg(**preprocess), is_train=False),
        batch_size=evaluate.batch_size,
        device=device,
        threads=threads,
        precision=evaluate.precision,
    )


def threads_of(evaluate: Evaluate) -> int:
    return evaluate.threads or len(os.sched_getaffinity(0))


def device_of(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used here; give auto, cpu or cuda") from error


def _load(spec: str, allow_download: bool) -> tuple[Any, Callable[[list[str]], Tensor], dict[str, Any]]:
    """Model, tokenizer and preprocess_cfg."""
    folder = Path(spec.removeprefix(LOCAL_DIR))
    if (folder / EXPORT_CONFIG).is_file():
        return _create(f"{LOCAL_DIR}{folder}", None)
    if (folder / CONFIG_FILE).is_file():
        model, config = load_dual_encoder(folder)
        return model, tokenizer_of(config["tokenizer"]), config["preprocess"]
    if folder.is_dir():
        raise UserError(
            f"{folder}: neither {CONFIG_FILE} (a trained model) nor {EXPORT_CONFIG} (an export) in this folder"
        )
    if spec.startswith("hf-hub:"):
        if not allow_download:
            raise UserError(f"{spec}: would be downloaded; give a local file as ARCH:FILE, or allow the download")
        return _create(spec, None)
    return _checkpoint(spec, allow_download)


def _checkpoint(spec: str, allow_download: bool) -> tuple[Any, Callable[[list[str]], Tensor], dict[str, Any]]:
    architecture, weights = check_checkpoint(spec, allow_download=allow_download)
    model, tokenize, preprocess = _create(architecture, weights)
    if Path(weights).is_file():  # of a tag open_clip knows it itself
        preprocess = preprocess | published_preprocess(architecture)
    return model, tokenize, preprocess


def check_checkpoint(spec: str, *, allow_download: bool = False) -> tuple[str, str]:
    """The architecture and the file that ARCH:FILE names, unread; UserError where open_clip will not load them."""
    architecture, colon, weights = spec.partition(":")
    if not colon:
        raise UserError(f"{spec}: no such model folder; give a folder, or an open_clip checkpoint as ARCH:FILE")
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise UserError(f"{architecture}: open_clip has no such architecture{_hint(architecture)}")
    if not Path(weights).is_file() and not allow_download:
        raise UserError(f"{spec}: {weights!r} is no local file; give one, or allow open_clip to download that tag")
    hub = config["text_cfg"].get("hf_tokenizer_name") or ("siglip" in architecture.lower() and "its tokenizer")
    if hub and not allow_download:
        raise UserError(
            f"{spec}: its tokenizer ({hub}) would be downloaded; give an export folder, or allow the download"
        )
    return architecture, weights


def _hint(architecture: str) -> str:
    near = nearest(architecture, open_clip.list_models())
    return (
        near if near.startswith("; did you mean") else "; python -c 'import open_clip; print(open_clip.list_models())'"
    )


def _create(name: str, weights: str | None) -> tuple[Any, Callable[[list[str]], Tensor], dict[str, Any]]:
    try:
        model = open_clip.create_model(name, weights, require_pretrained=True)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{name}{f':{weights}' if weights else ''}: open_clip cannot load this ({reason})") from error
    return model, open_clip.get_tokenizer(name), model.visual.preprocess_cfg


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def one_ahead(begun: Iterable[Item]) -> Iterator[Item]:
    """Each of what is begun by being asked for, when the one after it has begun too."""
    waiting: deque[Item] = deque()
    for item in begun:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting
