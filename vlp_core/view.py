"""One batch under one model: each pass is made once, however many objectives ask for it.

A pass is asked for by what goes into it: how the words are changed, which places of the picture are left out, which
pairs are put together, who may attend to whom. Changes are values and draw from their samples' keys, so that equal ones
are one pass, and their order does not matter.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from vlp_core.batch import Batch
from vlp_core.errors import UserError
from vlp_core.model import VLModel, random_places
from vlp_core.nn.gather import gather, gather_sequence
from vlp_core.nn.momentum import Momentum
from vlp_core.sequence import Fused, Sequence
from vlp_core.vocabulary import Vocabulary, WordTables

IGNORE = -100
WRITTEN = ("causal", "backward")
"""The kinds of attention under which a text is written, from its start or from its end."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Words:
    """Texts as a model reads them, and what stood there.

    tokens   int64 [B, L]
    targets  int64 [B, L], IGNORE where nothing is asked
    """

    tokens: Tensor
    targets: Tensor

    @cached_property
    def hidden(self) -> Tensor:
        """Where something is asked, int64 [K] among the B·L places; to count them is to wait for the device."""
        return (self.targets.flatten() != IGNORE).nonzero()[:, 0]


@dataclass(frozen=True)
class Pairs:
    """M pictures with a text each, by their rows among those of all ranks.

    image  int64 [M]
    text   int64 [M]; None: each of this rank's own texts, in their order
    label  int64 [M]: 1 they belong together, 0 they do not, IGNORE where none could be found
    """

    image: Tensor
    text: Tensor | None
    label: Tensor


class TextChange(Protocol):
    """A frozen value that changes texts."""

    def apply(self, tokens: Tensor, keys: Tensor, vocabulary: Vocabulary, tables: WordTables) -> Words: ...

    def __hash__(self) -> int: ...


class Pairing(Protocol):
    """A frozen value that puts pairs together."""

    def choose(self, view: "View") -> Pairs: ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True)
class RandomPlaces:
    """A random part of a picture's places is hidden from the model."""

    hidden: float

    def __post_init__(self) -> None:
        if not 0 < self.hidden < 1:
            raise UserError(f"hidden {self.hidden}: give a share of the picture's places, over 0 and below 1")

    def keep(self, places: int) -> int:
        """How many of so many stay: one at least, and one at least goes."""
        return min(max(places - round(self.hidden * places), 1), places - 1)


class View:
    """See the module. `twin` is the same batch under the model's twin, where the system has one."""

    def __init__(self, model: VLModel, batch: Batch, *, training: bool = True, twin: Momentum | None = None) -> None:
        self.model, self.batch, self.training = model, batch, training
        self.twin = None if twin is None else View(cast(VLModel, twin.twin), batch, training=training)
        self._momentum = twin
        self._made: dict[Hashable, Any] = {}

    def twin_of(self, head: nn.Module) -> nn.Module:
        """What answers under the twin as `head` does here."""
        assert self._momentum is not None, "the system of this objective has a twin"
        return self._momentum.of(head)

    def words(self, change: TextChange) -> Words:
        """The batch's texts, changed."""
        model = self.model
        make = lambda: change.apply(self.batch.tokens, self.batch.key, model.vocabulary, model.tables)  # noqa: E731
        return self._once(("words", change), make)

    def pixels(self) -> Tensor:
        """Normalised float pixels [B, 3, H, W]."""
        return self._once("pixels", lambda: self.model.normalise(self.batch.pixels))

    def places(self, change: RandomPlaces) -> tuple[Tensor, Tensor]:
        """Places of the picture that are seen int64 [B, K] and those that are hidden int64 [B, N − K]."""
        count = self.model.places
        make = lambda: random_places(self.batch.key, "places", count, change.keep(count))  # noqa: E731
        return self._once(("places", change), make)

    def image(self, change: RandomPlaces | None = None) -> Sequence:
        """States of the pictures."""
        return self._once(("image", change), lambda: self._image(change))

    def text(self, change: TextChange | None = None, *, first: int | None = None) -> Sequence:
        """States of the texts; `first`: the token that takes the place of their start."""
        return self._once(("text", change, first), lambda: self._text(change, first))

    def image_vectors(self) -> Tensor:
        """Unit vectors [B, D] of the pictures."""
        return self._once("image vectors", lambda: self.model.image_vector(self.image()))

    def text_vectors(self) -> Tensor:
        """Unit vectors [B, D] of the texts."""
        return self._once("text vectors", lambda: self.model.text_vector(self.text()))

    def scale(self) -> Tensor:
        """The factor before the softmax of similarities [1]."""
        return self._once("scale", self.model.scale)

    def pairs(self, pairing: Pairing) -> Pairs:
        return self._once(("pairs", pairing), lambda: pairing.choose(self))

    def fused(
        self,
        *,
        words: TextChange | None = None,
        image: RandomPlaces | None = None,
        pairs: Pairing | None = None,
        attention: str = "full",
    ) -> Fused:
        """The batch's own pairs, or those that `pairs` puts together, through the fusion."""
        name = ("fused", words, image, pairs, attention)
        return self._once(name, lambda: self._fused(words, image, pairs, attention))

    def global_ids(self) -> tuple[Tensor, Tensor]:
        """image_id and text_id int64 [W·B] of all ranks' rows."""
        both = torch.stack([self.batch.image_id, self.batch.text_id], dim=1)
        ids = self._once("ids", lambda: gather(both))
        return ids[:, 0], ids[:, 1]

    def _image(self, change: RandomPlaces | None) -> Sequence:
        keep = None if change is None else self.places(change)[0]
        if keep is None and self.model.sampled is not None and self.training:
            count = self.model.places
            keep, _ = random_places(self.batch.key, "sampled", count, min(self.model.sampled, count))
        return self.model.see(self.pixels(), keep)

    def _text(self, change: TextChange | None, first: int | None) -> Sequence:
        return self.model.read(self.batch.tokens if change is None else self.words(change).tokens, first)

    def _fused(
        self, words: TextChange | None, image: RandomPlaces | None, pairs: Pairing | None, attention: str
    ) -> Fused:
        vocabulary = self.model.vocabulary
        first = vocabulary.decode if attention in WRITTEN else vocabulary.encode
        seen, read = self.image(image), self.text(words, first=first)
        if pairs is not None:
            chosen = self.pairs(pairs)
            seen = gather_sequence(seen).rows(chosen.image)
            read = read if chosen.text is None else gather_sequence(read).rows(chosen.text)
        return self.model.fuse(seen, read, attention)

    def _once(self, name: Hashable, make: Callable[[], Made]) -> Made:
        if name not in self._made:
            self._made[name] = make()
        found: Made = self._made[name]
        return found
