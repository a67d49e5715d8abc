"""How large the embedded corpus is and how much of it is spoilt."""

from dataclasses import dataclass, fields

from vlp_core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The embedded corpus. Rates are shares of `scenes`, but every kind of fault is there at least once."""

    scenes: int = 3000
    """good training pictures: each its own scene, with one to three true captions"""
    seed: int = 0
    """equal settings give equal bytes"""
    pairs: float = 0.25
    """share of the scenes that hold two objects"""
    held_out: int = 8
    """(colour, shape) combinations that only evaluation shows, of 64; at most 16"""
    retrieval: int = 300
    """evaluation scenes with three captions each"""
    per_class: int = 10
    """zero-shot pictures a class that training shows"""
    per_held_out_class: int = 20
    """zero-shot pictures a class that training does not show"""

    slow: float = 0.01
    """good pictures on a host that takes its time"""
    flaky: float = 0.01
    """good pictures on a host that answers 503 first"""
    redirect: float = 0.01
    """good pictures behind a redirect"""
    dead: float = 0.08
    """links that answer 404, 410 or 500"""
    html: float = 0.01
    """HTML under a picture's name"""
    hostile: float = 0.002
    """redirects to an address inside the network"""
    optout: float = 0.01
    """pictures whose X-Robots-Tag forbids their use"""
    tiny: float = 0.02
    """pictures smaller than 200 pixels"""
    exact: float = 0.04
    """the same bytes under another url"""
    near: float = 0.04
    """the same picture recompressed, resized, brightened or cropped"""
    leak: float = 0.005
    """evaluation pictures under training urls"""
    filename: float = 0.02
    """captions that are file names"""
    boilerplate: float = 0.02
    """captions that many pages share"""
    wrong: float = 0.02
    """captions of another scene"""
    foreign: float = 0.03
    """captions in French, German or Spanish"""

    def __post_init__(self) -> None:
        for name, least in (("scenes", 40), ("retrieval", 1), ("per_class", 1), ("per_held_out_class", 1)):
            if getattr(self, name) < least:
                raise UserError(f"corpus: {name} is {getattr(self, name)}; give at least {least}")
        if not 0 <= self.held_out <= 16:
            raise UserError(
                f"corpus: held_out is {self.held_out}; give 0 to 16, so that every shape and colour is seen"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float and not 0 <= value <= 1:
                raise UserError(f"corpus: {field.name} is {value}; a share lies between 0 and 1")
        if self.slow + self.flaky + self.redirect > 0.5:
            raise UserError("corpus: slow, flaky and redirect are more than half of all scenes together; lower them")

    def count(self, kind: str, least: int = 1) -> int:
        """How many rows of a kind there are: its rate of the scenes, but `least` of them always."""
        return max(least, round(getattr(self, kind) * self.scenes))
