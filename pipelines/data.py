"""From lists to a selection: the steps that every pipeline of models and data stands on."""

from dataclasses import dataclass, replace
from pathlib import Path

from jobs import corpus, dedup, download, filter, hash, ingest, measure, select
from pipelines.workflow.step import ResultFile, Step, step
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.settings import Dedup, Filter, Ingest, Select
from vlp_core.errors import UserError
from vlp_core.miniature.settings import Corpus
from vlp_core.web.settings import Fetch


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Evaluation sets of one's own: lists that come in as the training list does and are never trained on."""

    retrieval: Path | None = None
    """List of (url, caption): retrieval in both directions."""
    zero_shot: Path | None = None
    """List of (url, label), and `group` where accuracy is wanted by group."""
    classes: Path | None = None
    """JSON of {"classes": [...], "templates": ["a photo of a {}.", ...]} for the zero-shot list."""

    def __post_init__(self) -> None:
        if (self.zero_shot is None) != (self.classes is None):
            raise UserError("--eval.zero-shot and --eval.classes go together; give both, or neither")


@dataclass(frozen=True, kw_only=True)
class Curate:
    """How lists become a selection. Without --source: those of the embedded corpus."""

    source: tuple[Path, ...] = ()
    """Lists of (url, caption): Parquet, csv, tsv or jsonl files, or folders of them."""
    corpus: Corpus = Corpus()
    ingest: Ingest = Ingest()
    fetch: Fetch = Fetch()
    filter: Filter = Filter()
    dedup: Dedup = Dedup()
    select: Select = Select()
    eval: Sets = Sets()


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where the lists come from: files of the user's, or the embedded corpus, which also serves its pictures."""

    pairs: tuple[Path, ...] | ResultFile
    retrieval: Path | ResultFile | None
    zero_shot: Path | ResultFile | None
    classes: Path | ResultFile | None
    serve: Step | None


def inputs_of(config: Curate) -> Inputs:
    if config.source:
        sets = config.eval
        return Inputs(
            pairs=config.source, retrieval=sets.retrieval, zero_shot=sets.zero_shot, classes=sets.classes, serve=None
        )
    if config.eval != Sets():
        raise UserError(
            "--eval.… is for lists of one's own: give --source too (the embedded corpus brings its own sets)"
        )
    made = step("corpus", corpus.run, corpus=config.corpus)
    return Inputs(
        pairs=made.file("train.parquet"),
        retrieval=made.file("retrieval.parquet"),
        zero_shot=made.file("zero_shot.parquet"),
        classes=made.file("classes.json"),
        serve=made,
    )


def check_data(config: Curate) -> None:
    """Tell now what would otherwise be told after the download."""
    filter.check_detector(config.filter)
    if config.source and config.corpus != Corpus():
        raise UserError(
            "--corpus.… is for the embedded corpus, which --source takes the place of; leave out one of them"
        )


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Steps that no rule changes: the pictures, their looks, and the evaluation sets with theirs."""

    images: Step
    hashes: Step
    sets: dict[str, Step]
    seen: tuple[Step, ...]


def fetched(config: Curate, inputs: Inputs) -> DataSet:
    """Every picture is fetched and hashed once, whatever rules ask."""

    def pictures(name: str, source: object, settings: Ingest) -> Step:
        # Columns are named for the training list; an evaluation list that lacks them is recognised by itself.
        pairs = step(f"ingest{name}", ingest.run, sources=source, ingest=settings, recognise=bool(name))
        return step(f"download{name}", download.run, pairs=pairs, fetch=config.fetch, serve=inputs.serve)

    images = pictures("", inputs.pairs, config.ingest)
    sets: dict[str, Step] = {}
    if inputs.retrieval is not None:
        sets["retrieval"] = pictures("-retrieval", inputs.retrieval, config.ingest)
    if inputs.zero_shot is not None:
        labelled = replace(config.ingest, needs_caption=False)
        sets["zero_shot"] = pictures("-zero-shot", inputs.zero_shot, labelled)
    seen = tuple(step(f"hash-{name.replace('_', '-')}", hash.run, images=found) for name, found in sets.items())
    return DataSet(images=images, hashes=step("hash", hash.run, images=images), sets=sets, seen=seen)


def selected(config: Curate, data_set: DataSet, columns: dict[str, Step] | None = None, arm: str = "") -> Step:
    """The selection that the settings' rules make of a data set.

    `columns` are steps of judges, by name, that are there already; those that are made are added. `arm` ends the names
    of the steps that the rules decide.
    """
    images, hashes = data_set.images, data_set.hashes
    judged = measured(config.filter, images, {} if columns is None else columns)
    verdicts = step(f"filter{arm}", filter.run, images=images, columns=judged, filter=config.filter)
    copies = step(f"dedup{arm}", dedup.run, images=images, hashes=hashes, verdicts=verdicts, dedup=config.dedup)
    return step(
        f"select{arm}",
        select.run,
        verdicts=verdicts,
        copies=copies,
        hashes=hashes,
        evaluations=data_set.seen,
        select=config.select,
    )


def measured(settings: Filter, images: Step, columns: dict[str, Step]) -> tuple[Step, ...]:
    """Columns of the judges that the rules ask, each costly one a step of its own: they stay when rules change."""
    asked = filter.judges_of(settings)
    cheap = [name for name, judge in JUDGES.items() if not judge.costly]
    if "measure" not in columns:
        columns["measure"] = step("measure", measure.run, images=images, judges=measure.versions(cheap))
    for name in sorted(asked - set(cheap)):
        if name not in columns:
            detector = {"detector": settings.detector} if name == "language" else {}
            columns[name] = step(
                f"measure-{name}", measure.run, images=images, judges=measure.versions([name]), **detector
            )
    return tuple(columns[name] for name in ("measure", *sorted(asked - set(cheap))))
