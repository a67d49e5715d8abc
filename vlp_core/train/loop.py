"""Training from a data set to a model folder: the same under Ray, torchrun and alone."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError

from vlp_core.data.loader import Loader
from vlp_core.data.samples import Samples
from vlp_core.data.settings import Data
from vlp_core.data.tokens import tokenizer_of
from vlp_core.data.transforms import Transform
from vlp_core.errors import UserError
from vlp_core.files import full_disk, no_space, write_text
from vlp_core.identity import key_of
from vlp_core.model_folder import write_folder
from vlp_core.settings import EXECUTION, EXTENDS
from vlp_core.sizes import SystemSizes, config_of, fresh_system
from vlp_core.tracker import Summary, Tracker
from vlp_core.train.checkpoint import Checkpoint, Checkpoints
from vlp_core.train.curve import PICTURE_FILE, Curve, Point, draw, measured, read_points, tell
from vlp_core.train.cut import COUNTED, tell_cut
from vlp_core.train.deepspeed_file import identify_file, stage_of
from vlp_core.train.engine import Engine, check_optimizer, convert, use_bf16
from vlp_core.train.ranks import Ranks, joined, set_threads
from vlp_core.train.schedule import learning_rate
from vlp_core.train.settings import Train
from vlp_core.train.start import check_own, identify_start, load_start
from vlp_core.train.stopwatch import Stopwatch
from vlp_core.train.trained_on import (
    SELECTIONS,
    digest_of_selection,
    distinct,
    selections_of_start,
    write_selections,
)

CONTINUED_FILE = "_CONTINUED.json"
LEAST_FREE_BYTES = 2**20


def train_model(
    *,
    images: Path,
    selection: Path | None,
    recipe: SystemSizes,
    train: Train,
    data: Data,
    tokenizer: Path | None = None,
    out: Path,
    tracker: Tracker,
    previous: Path | None = None,
    tell_before: bool = True,
) -> None:
    """Train a recipe into a model folder `out`, going on from the checkpoints there, or else from those of `previous`.

    A run that was interrupted gives what one that was not gives: to the bit on a CPU, and on a GPU as far as two runs
    there agree (see Curve). `tell_before` has the tracker told, before the first step, how many captions are cut, and
    the points of the run that this one goes on from, so that it has the whole curve. Every process of the run calls
    this. Raises UserError for data, settings and checkpoints that do not fit.
    """
    set_threads(train.threads)
    with joined(train.gpu) as ranks, _full_disk_told(out):
        samples = ranks.share(lambda: Samples.open(images, selection))
        selected = digest_of_selection(selection)
        Run(samples, selected, recipe, train, data, tokenizer, out, tracker, ranks).go(previous, tell_before)


@contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    """A disk that fills up is the user's to mend: torch and safetensors have errors of their own for it."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = full_disk(error) if isinstance(error, OSError) else shutil.disk_usage(out).free < LEAST_FREE_BYTES
        if full:
            raise UserError(no_space(out)) from error
        raise


class Run:
    """One run on one rank."""

    def __init__(
        self,
        samples: Samples,
        selected: str | None,
        recipe: SystemSizes,
        train: Train,
        data: Data,
        tokenizer: Path | None,
        out: Path,
        tracker: Tracker,
        ranks: Ranks,
    ) -> None:
        self.samples, self.selected, self.recipe, self.train, self.data = samples, selected, recipe, train, data
        self.out, self.tracker, self.ranks = out, tracker, ranks
        self.config = config_of(recipe)
        self.tokenizer = tokenizer_of(self.config["tokenizer"], tokenizer)
        self.start: str | None = None
        self.trained_on: tuple[str, ...] = ()
        self.checkpoints = Checkpoints(out, keep=train.keep, warn=tracker.warn)

    def go(self, previous: Path | None, tell_before: bool) -> None:
        found, self.start, self.trained_on = self.ranks.share(lambda: self._found(previous))
        self.train = replace(self.train, precision=self._precision(found))
        with self._loader(found) as loader, closing(self._engine(found)) as engine:
            curve = Curve(read_points(found.folder), found.state["window"]) if found else Curve()
            if tell_before and self.ranks.first:
                tell_cut(self.samples.some_captions(COUNTED), self.recipe, self.tokenizer, self.tracker)
                tell(self.tracker, curve.points)
            self._steps(engine, loader, curve, found.step if found else 0)
            state = engine.state_dict()
            if self.ranks.first:
                self.tokenizer.save(self.out)
                write_selections(self.out, self.trained_on)
                write_folder(self.out, state, self.config | engine.system.described())
                draw(curve.points, self.out / PICTURE_FILE)
            self.ranks.barrier()

    def _found(self, previous: Path | None) -> tuple[Checkpoint | None, str | None, tuple[str, ...]]:
        """The checkpoint to go on from, if there is one that fits; the weights that its first step began with; and the
        selections that all of it was trained on."""
        own = self.checkpoints.newest()
        found = own or self._previous(previous)
        start = identify_start(self.train.start) if self.train.start else None
        if found is not None:
            start = start or found.state["settings"].get("train.start")  # they are not needed any more
            self._check(found, start)
        if own is None:  # the run begins here, and what it began with stays true however often it is resumed
            continued = {"continued_from": previous.name if previous and found else None}
            write_text(self.out / CONTINUED_FILE, json.dumps(continued) + "\n")
        before = found.state.get(SELECTIONS, ()) if found else ()  # the start may be gone by now
        return found, start, distinct([self.selected, *before, *selections_of_start(self.train.start)])

    def _previous(self, previous: Path | None) -> Checkpoint | None:
        if previous is None:
            return None
        found = Checkpoints(previous, warn=self.tracker.warn).newest()
        if found is None:
            self.tracker.warn(f"{previous}: has no checkpoint to go on from; training from the first step")
        return found

    def _precision(self, found: Checkpoint | None) -> Literal["fp32", "bf16"]:
        """What `auto` means here; a run keeps what it began with, on whatever machine it goes on."""
        if self.train.precision == "auto" and found is not None:
            return cast(Literal["fp32", "bf16"], found.state["settings"]["train.precision"])
        return "bf16" if use_bf16(self.train.precision, self.ranks.device) else "fp32"

    def _check(self, found: Checkpoint, start: str | None) -> None:
        settings = self._settings(start)
        if self.train.precision == "auto":
            settings["train.precision"] = found.state["settings"].get("train.precision")
        keys = settings.keys() | found.state["settings"].keys()
        for key in sorted(keys, key=lambda key: (key != "recipe.name", key)):  # of another recipe all is different
            then, now = found.state["settings"].get(key), settings.get(key)
            if then != now:
                raise UserError(
                    f"{found.folder}: was made with {key} {then}, not {now}; give the same or another output folder"
                )
        if found.step > self.train.steps:
            raise UserError(
                f"{found.folder}: has already {found.step} steps; give --train.steps {found.step} or more, "
                "or another output folder"
            )

    def _settings(self, start: str | None) -> dict[str, Any]:
        """Whatever decides what a step does; what is found under other settings is not gone on from."""
        settings: dict[str, Any] = {"samples": self._samples(), "zero-stage": stage_of(self.train)}
        for name, part in (("train", self.train), ("data", self.data)):
            chosen = [f.name for f in fields(part) if not f.metadata.get(EXECUTION) and not f.metadata.get(EXTENDS)]
            values = asdict(part)
            settings |= {f"{name}.{field.replace('_', '-')}": _plain(values[field]) for field in chosen}
        del settings["train.zero-stage"]  # the DeepSpeed file may say another
        settings["train.start"] = start
        settings["train.deepspeed"] = identify_file(self.train.deepspeed) if self.train.deepspeed else None
        settings["tokenizer"] = self.tokenizer.digest
        return settings | {f"recipe.{key}": _plain(value) for key, value in self.config["recipe"].items()}

    def _samples(self) -> str:
        return f"{len(self.samples)} ({self.samples.digest[:16]})"

    def _loader(self, found: Checkpoint | None) -> Loader:
        transform = Transform(
            size=self.config["preprocess"]["size"],
            crop_scale=self.data.crop_scale,
            flip=self.data.flip,
            resize_mode=self.config["preprocess"]["resize_mode"],
        )
        again = self.train.steps * self.train.batch_size > len(self.samples)
        return Loader(
            self.samples,
            tokenize=self.tokenizer,
            transform=transform,
            seed=self.train.seed,
            batch_size=self.train.batch_size,
            rank=self.ranks.rank,
            world=self.ranks.world,
            cursor=found.state["samples"] if found else 0,
            block=self.data.block,
            window=self.data.window,
            threads=self.data.threads,
            prefetch=self.data.prefetch,
            keep_bytes=self.data.keep_mb << 20 if again else 0,
            pin=self.ranks.device.type == "cuda",
        )

    def _engine(self, found: Checkpoint | None) -> Engine:
        system = fresh_system(self.recipe, self.tokenizer.vocabulary, self.train.seed)
        if found is None:
            if self.train.start:
                check_own(self.recipe, self.train.start)
                name, pieces = self.config["recipe"]["name"], self.tokenizer.pieces
                for line in load_start(system, self.train.start, name, self.ranks.device, pieces):
                    if self.ranks.first:
                        self.tracker.warn(line)
            return Engine(system, self.train, self.ranks)
        # Without ZeRO every rank has all of the state; with it, the state is cut by the number of ranks.
        universal = found.state["ranks"] != self.ranks.world and found.state["settings"]["zero-stage"] > 0
        if universal:
            check_optimizer(self.train, found.folder, found.state["ranks"])
        engine = Engine(system, self.train, self.ranks, universal=universal)
        folder = self.ranks.share(lambda: self._universal(found)) if universal else found.folder
        engine.load(folder, universal=universal)
        if universal:
            self.ranks.barrier()
            self.ranks.share(lambda: shutil.rmtree(folder))
        return engine

    def _universal(self, found: Checkpoint) -> Path:
        folder = self.checkpoints.partial(found.step)
        convert(found.folder, folder)
        return folder

    def _steps(self, engine: Engine, loader: Loader, curve: Curve, done: int) -> None:
        train, ranks = self.train, self.ranks
        watch = Stopwatch(self.out) if ranks.first else None
        if watch:
            curve.write(self.out)
            watch.mark("begun", done)
        pace = _Pace(self.tracker, train, loader, done, listen=ranks.first)
        for step in range(done + 1, train.steps + 1):
            batch = next(loader)
            # Whatever the model draws depends on the step, so that a resumed run draws the same, on a GPU too.
            torch.manual_seed(key_of(train.seed, "step", step, ranks.rank))
            lr = learning_rate(step, train)
            curve.add(engine.step(batch.to(ranks.device), lr))
            last = step == train.steps
            if last or step % train.log_every == 0:
                curve.read(step, ranks)
                point = curve.point(step=step, samples=loader.cursor, lr=lr)
                if watch:
                    curve.append(self.out)
                    watch.mark("reached", step)
                pace.point(step, point)
            if last or step % train.checkpoint_every == 0:
                curve.read(step, ranks)  # refuses to keep weights that are not finite
                if watch:
                    watch.mark("reached", step)
                self._save(engine, curve, step, loader.cursor)
                if watch:
                    watch.mark("saved", step)
            pace.progress(step)

    def _save(self, engine: Engine, curve: Curve, step: int, samples: int) -> None:
        folder = self.ranks.share(lambda: self.checkpoints.partial(step))
        engine.save(folder)
        self.ranks.barrier()
        if self.ranks.first:
            curve.write(folder)
            state = {
                "samples": samples,
                "ranks": self.ranks.world,
                "window": curve.window,
                "settings": self._settings(self.start),
                SELECTIONS: self.trained_on,
            }
            self.checkpoints.publish(step, state)


class _Pace:
    """Tells the tracker how the run goes, on the rank it listens to, and seldom enough not to hold it up."""

    SECONDS = 0.5

    def __init__(self, tracker: Tracker, train: Train, loader: Loader, done: int, *, listen: bool) -> None:
        self._tracker, self._train, self._loader, self._listen = tracker, train, loader, listen
        self._told = 0.0
        self._since = (time.perf_counter(), loader.wait_seconds, done)
        self.progress(done)

    def progress(self, step: int) -> None:
        now = time.monotonic()
        if self._listen and (step == self._train.steps or now - self._told >= self.SECONDS):
            self._told = now
            size = self._train.batch_size
            self._tracker.progress(step * size, self._train.steps * size, unit="pairs")

    def point(self, step: int, point: Point) -> None:
        now, waited = time.perf_counter(), self._loader.wait_seconds
        began, had_waited, before = self._since
        self._since = (now, waited, step)
        if not self._listen:
            return
        seconds = now - began
        values = measured(point)
        values["samples_per_second"] = (step - before) * self._train.batch_size / seconds
        values["data_wait_share"] = (waited - had_waited) / seconds
        self._tracker.metrics(values, step=step)


def summary(out: Path) -> Summary:
    """Headline numbers of a finished run."""
    last = read_points(out)[-1]
    counts = {"steps": last["step"]}
    counts |= {name: last[name] for name in ("samples", "loss", "scale") if name in last}
    return Summary(counts=counts, pictures={"curve": PICTURE_FILE})


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
