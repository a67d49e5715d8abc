"""A system in evaluation mode, and evaluation data as it reads them."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.data.samples import text_id
from vlp_core.data.tokens import Tokenizer
from vlp_core.evals.encoder import Encoder, UndecodableError, batches, device_of, one_ahead, threads_of
from vlp_core.evals.sets import RetrievalSet
from vlp_core.evals.settings import Evaluate
from vlp_core.identity import key_of
from vlp_core.model import VLModel
from vlp_core.nn.precision import autocast
from vlp_core.system import System
from vlp_core.view import View

Objective = TypeVar("Objective", bound=nn.Module)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """`system` on its device, with its tokenizer and what pictures are brought to, as a config has it."""

    name: str
    system: System
    tokenizer: Tokenizer
    preprocess: dict[str, Any]
    settings: Evaluate
    device: torch.device

    @classmethod
    def of(
        cls, system: System, tokenizer: Tokenizer, preprocess: dict[str, Any], settings: Evaluate, *, name: str
    ) -> "Reader":
        torch.set_num_threads(threads_of(settings))
        device = device_of(settings.device)
        return cls(
            name=name,
            system=system.to(device).eval(),
            tokenizer=tokenizer,
            preprocess=preprocess,
            settings=settings,
            device=device,
        )

    @property
    def model(self) -> VLModel:
        assert isinstance(self.system.model, VLModel)
        return self.system.model

    def view(self, batch: Batch) -> View:
        """The batch under the system."""
        return cast(View, self.system.view(batch))

    def objective(self, kind: type[Objective]) -> Objective | None:
        """The system's first objective of a kind, if it has one."""
        return self.system.objective(kind)

    def encoder(self) -> Encoder:
        """The system as a dual encoder."""
        return Encoder(
            name=self.name,
            model=self.model,
            tokenize=self.tokenizer,
            transform=image_transform_v2(PreprocessCfg(**self.preprocess), is_train=False),
            batch_size=self.settings.batch_size,
            device=self.device,
            threads=threads_of(self.settings),
            precision=self.settings.precision,
        )

    def autocast(self) -> torch.autocast:
        """The precision that the settings ask for."""
        return autocast(self.device, self.settings.precision)

    def pixels(self, bodies: Iterable[bytes]) -> Tensor:
        """Encoded pictures -> uint8 [B, 3, H, W] on the device, as training has them."""
        return next(self.streamed([bodies]))

    def streamed(self, several: Iterable[Iterable[bytes]]) -> Iterator[Tensor]:
        """As `pixels`, of several batches; a batch is decoded while the one before it is worked on."""
        plain = PreprocessCfg(**{**self.preprocess, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)})
        transform = image_transform_v2(plain, is_train=False)

        def decoded(body: bytes) -> Tensor:
            try:
                with Image.open(io.BytesIO(body)) as picture:
                    return (transform(picture.convert("RGB")) * 255).round().to(torch.uint8)
            except Exception as error:  # decoders raise what they like
                raise UndecodableError.of(body, error) from error

        with ThreadPoolExecutor(threads_of(self.settings)) as pool:
            for batch in one_ahead(pool.map(decoded, bodies) for bodies in several):
                yield torch.stack(list(batch)).to(self.device)

    def pairs(self, data: RetrievalSet) -> Iterator[Batch]:
        """Each picture with the first of its captions, in batches."""
        parts = list(batches(range(len(data.pictures)), self.settings.batch_size))
        bodies = (map(data.pictures.__getitem__, numbers) for numbers in parts)
        for numbers, pixels in zip(parts, self.streamed(bodies), strict=True):
            texts = [data.texts[data.first_texts[number]] for number in numbers]
            names = [data.identities[number] for number in numbers]
            yield Batch(
                pixels=pixels,
                tokens=self.tokenizer(texts),
                image_id=torch.tensor([key_of(name) - 2**63 for name in names]),
                text_id=torch.tensor([text_id(text) for text in texts]),
                key=torch.tensor([key_of("evaluation", name) - 2**63 for name in names]),
                uid=names,
            ).to(self.device)
