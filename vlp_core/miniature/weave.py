"""Weaves the miniature web: good pictures, evaluation pictures, and every fault at its rate."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from vlp_core.identity import generator, key_of, uid_of
from vlp_core.miniature import captions
from vlp_core.miniature import web as w
from vlp_core.miniature.copies import WAYS, altered
from vlp_core.miniature.draw import Studio
from vlp_core.miniature.scenes import SIDES, Class, Scene, held_out_classes, one_object, pick, seen_classes, two_objects
from vlp_core.miniature.settings import Corpus
from vlp_core.miniature.web import Page, Row

REPORT_EVERY = 250  # rows


class Web:
    """All pages and rows of a corpus. Every draw is keyed by (seed, purpose, number): equal settings, equal web.

    `report(rows so far)` is called now and then.
    """

    def __init__(self, corpus: Corpus, report: Callable[[int], None] | None = None) -> None:
        self.corpus = corpus
        self._report = report
        self.held_out = held_out_classes(corpus)
        self.seen = seen_classes(corpus)
        self.pages: list[Page] = []
        self.rows: list[Row] = []
        self._studio = Studio()
        self._add_zero_shot()
        self._add_retrieval()
        self._add_good()
        self._add_copies()
        self._add_bad_answers()
        self._add_bad_captions()

    def rows_of(self, name: str) -> list[Row]:
        """The rows of one list, in an order that says nothing about their kinds."""
        rows = [row for row in self.rows if row.list == name]
        return sorted(rows, key=lambda row: key_of(self.corpus.seed, "order", row.url))

    # Evaluation

    def _add_zero_shot(self) -> None:
        for kind in (*self.seen, *self.held_out):
            for i in range(self.corpus.per_class if kind in self.seen else self.corpus.per_held_out_class):
                scene, body = self._studio.shoot(partial(self._of_class, kind, i))
                page = Page(url=self._url("zero shot", f"{kind} {i}", w.EVALUATION_HOSTS), body=body)
                self._add(page, scene, (), list="zero_shot", caption_kind="none")

    def _add_retrieval(self) -> None:
        taken: set[tuple] = set()
        for i in range(self.corpus.retrieval):
            scene, body = self._studio.shoot(partial(self._unlike, taken, i))
            taken.add(_said(scene))
            texts = self._captions(scene, "retrieval", i, number=3, detailed=True)
            page = Page(url=self._url("retrieval", i, w.EVALUATION_HOSTS), body=body)
            self._add(page, scene, texts, list="retrieval")

    def _of_class(self, kind: Class, i: int, attempt: int) -> Scene:
        return one_object(self._rng("zero shot", kind, i, attempt), kind)

    def _unlike(self, taken: set[tuple], i: int, attempt: int) -> Scene:
        trials = (self._scene("retrieval", i, attempt, trial) for trial in range(1000))
        scene = next((scene for scene in trials if _said(scene) not in taken), None)
        if scene is None:
            raise RuntimeError(f"{i} retrieval scenes have used up all that can be said; ask for fewer")
        return scene

    # Training: what is good, and copies of it

    def _add_good(self) -> None:
        classes = sorted(self.seen, key=lambda kind: key_of(self.corpus.seed, "balanced", kind))
        behaviours = [kind for kind in ("slow", "flaky", "redirect") for _ in range(self.corpus.count(kind))]
        for i in range(self.corpus.scenes):
            kind = behaviours[i] if i < len(behaviours) else "good"
            scene, body = self._shoot("good", i, first=classes[i % len(classes)])
            texts = self._captions(scene, "good", i, number=1 + int(self._rng("captions", i).integers(3)))
            self._add(self._good_page(kind, i, body), scene, texts, kind=kind)

    def _good_page(self, kind: str, i: int, body: bytes) -> Page:
        if kind == "slow":
            return Page(url=self._url(kind, i, [w.SLOW_HOST]), body=body, delay=w.DELAY)
        if kind == "flaky":
            return Page(url=self._url(kind, i, [w.FLAKY_HOST]), body=body, refusals=1)
        if kind == "redirect":
            target = Page(url=self._url("target", i), body=body)
            self.pages.append(target)
            return _redirect(self._url(kind, i, [w.REDIRECTING_HOST]), target.url)
        return _picture(self._url(kind, i), body, robots=w.OPT_IN if i % 50 == 0 else None)

    def _add_copies(self) -> None:
        plain = [row for row in self.rows if row.kind == "good" and row.list == "train"]
        exact, near = self.corpus.count("exact"), self.corpus.count("near", least=len(WAYS))
        self._copy("exact", plain, ["exact"] * exact)
        self._copy("near", plain[exact % len(plain) :] + plain, [WAYS[i % len(WAYS)] for i in range(near)])
        # Leaks show seen classes alone: a held-out combination stays out of training whatever leaks.
        held_out = {str(kind) for kind in self.held_out}
        watched = [row for row in self.rows if row.list != "train" and held_out.isdisjoint(row.scene.classes)]
        watched.sort(key=lambda row: key_of(self.corpus.seed, "leak", row.url))
        leaks = self.corpus.count("leak", least=2)
        self._copy("leak", watched, [("exact", "recompressed")[i % 2] for i in range(leaks)])

    def _copy(self, kind: str, originals: Sequence[Row], ways: Sequence[str]) -> None:
        """Copies of the first of `originals`, one a way, under urls and captions of their own."""
        bodies = {page.url: page.body for page in self.pages}
        for i, way in enumerate(ways):
            row = originals[i % len(originals)]
            body = bodies[row.url]
            if way != "exact":
                body = altered(body, way, self._rng("altered", kind, i))
            texts = self._captions(row.scene, kind, i)
            self._add(Page(url=self._url(kind, i), body=body), row.scene, texts, kind=kind, original=uid_of(row.url))

    # Training: faults

    def _add_bad_answers(self) -> None:
        for i in range(self.corpus.count("dead", least=len(w.DEAD_STATUSES))):
            self._add_bodiless("dead", i, _html(self._url("dead", i), w.DEAD_STATUSES[i % len(w.DEAD_STATUSES)]))
        for i in range(self.corpus.count("html")):
            self._add_bodiless("html", i, _html(self._url("html", i), 200, ("text/html", "image/jpeg")[i % 2]))
        for i in range(self.corpus.count("hostile")):
            self._add_bodiless("hostile", i, _redirect(self._url("hostile", i), w.FORBIDDEN_ADDRESS))
        for i in range(self.corpus.count("optout", least=len(w.OPT_OUTS))):
            scene, body = self._shoot("optout", i)
            page = _picture(self._url("optout", i), body, robots=w.OPT_OUTS[i % len(w.OPT_OUTS)])
            self._add(page, scene, self._captions(scene, "optout", i), kind="optout")
        for i in range(self.corpus.count("tiny")):
            scene, body = self._shoot("tiny", i, sides=(48, 150))
            self._add(Page(url=self._url("tiny", i), body=body), scene, self._captions(scene, "tiny", i), kind="tiny")

    def _add_bodiless(self, kind: str, i: int, page: Page) -> None:
        """A row whose caption is true of a picture that cannot be had."""
        scene = self._scene(kind, i)
        self._add(page, scene, self._captions(scene, kind, i), kind=kind)

    def _add_bad_captions(self) -> None:
        for kind in w.BADLY_CAPTIONED:
            for i in range(self.corpus.count(kind)):
                scene, body = self._shoot(kind, i)
                text = self._bad_caption(kind, i, scene)
                self._add(Page(url=self._url(kind, i), body=body), scene, (text,), kind=kind, caption_kind=kind)

    def _bad_caption(self, kind: str, i: int, scene: Scene) -> str:
        rng = self._rng("bad caption", kind, i)
        if kind == "filename":
            return captions.filename(rng)
        if kind == "boilerplate":
            return pick(rng, captions.BOILERPLATE)
        if kind == "foreign":
            return captions.foreign(scene, rng)
        others = (self._scene("another", i, attempt) for attempt in count())
        return captions.caption(next(other for other in others if _nothing_shared(scene, other)), rng)

    # Parts

    def _rng(self, *key: Any) -> np.random.Generator:
        return generator(self.corpus.seed, *key)

    def _scene(self, *key: Any, first: Class | None = None, sides: tuple[int, int] = SIDES) -> Scene:
        rng = self._rng("scene", *key)
        first = first or pick(rng, self.seen)
        if rng.random() >= self.corpus.pairs:
            return one_object(rng, first, sides)
        return two_objects(rng, first, pick(rng, [kind for kind in self.seen if kind != first]), sides)

    def _shoot(
        self, purpose: str, i: int, *, first: Class | None = None, sides: tuple[int, int] = SIDES
    ) -> tuple[Scene, bytes]:
        return self._studio.shoot(lambda attempt: self._scene(purpose, i, attempt, first=first, sides=sides))

    def _captions(
        self, scene: Scene, purpose: str, i: int, *, number: int = 1, detailed: bool = False
    ) -> tuple[str, ...]:
        """`number` different true captions."""
        rng, texts = self._rng("caption", purpose, i), dict[str, None]()
        while len(texts) < number:
            texts[captions.caption(scene, rng, detailed=detailed)] = None
        return tuple(texts)

    def _url(self, purpose: str, item: int | str, hosts: Sequence[str] = w.HOSTS) -> str:
        """A url that says nothing about what it leads to, but for a host that behaves in some way."""
        key = key_of(self.corpus.seed, "url", purpose, item)
        return f"http://{hosts[key % len(hosts)]}/{2010 + key // 64 % 15}/{key:016x}.jpg"

    def _add(self, page: Page, scene: Scene, texts: Iterable[str], **truth: Any) -> None:
        self.pages.append(page)
        self.rows.append(Row(url=page.url, scene=scene, captions=tuple(texts), **truth))
        if self._report and len(self.rows) % REPORT_EVERY == 0:
            self._report(len(self.rows))


def _picture(url: str, body: bytes, robots: str | None) -> Page:
    headers = {"Content-Type": "image/jpeg"} | ({"X-Robots-Tag": robots} if robots else {})
    return Page(url=url, body=body, headers=headers)


def _html(url: str, status: int, content_type: str = "text/html") -> Page:
    return Page(url=url, body=w.ERROR_PAGE, status=status, headers={"Content-Type": content_type})


def _redirect(url: str, target: str) -> Page:
    return Page(url=url, status=302, headers={"Location": target})


def _said(scene: Scene) -> tuple:
    """What tells a retrieval scene from the others in words: its two classes, or everything about its one object."""
    if len(scene.things) == 2:
        return tuple(sorted(scene.classes))
    thing = scene.things[0]
    return (*scene.classes, thing.size, thing.texture, scene.place)


def _nothing_shared(left: Scene, right: Scene) -> bool:
    words = [{word for name in scene.classes for word in name.split()} for scene in (left, right)]
    return words[0].isdisjoint(words[1])
