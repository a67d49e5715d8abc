"""From lists to a selection: the steps that every pipeline of models and data stands on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import corpus, dedup, filter, hash, matches, measure, near, report, select, truth
from jobs.hashed import hash_folders
from jobs.never_store import read_never_store
from pipelines.scores import add_scores, check_scores, semantic_of
from pipelines.sources import images_of
from pipelines.workflow.step import ResultFile, Step, step
from vlp_core.curation.entries import read_entries
from vlp_core.curation.quantities import JUDGES
from vlp_core.curation.score_settings import Score, Semantic
from vlp_core.curation.settings import Dedup, Filter, Ingest, Near, Select
from vlp_core.curation.truth import check_truth
from vlp_core.data.settings import Adopt
from vlp_core.errors import UserError
from vlp_core.miniature.settings import Corpus
from vlp_core.report.settings import Report
from vlp_core.settings import path_or_name
from vlp_core.web.settings import Fetch


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Evaluation sets of one's own: lists that come in as the training list does and are never trained on."""

    retrieval: Path | None = path_or_name(None)
    """List of (url, caption): retrieval in both directions."""
    zero_shot: Path | None = path_or_name(None)
    """List of (url, label), and `group` where accuracy is wanted by group."""
    classes: Path | None = None
    """JSON of {"classes": [...], "templates": ["a photo of a {}.", ...]} for the zero-shot list."""

    def __post_init__(self) -> None:
        if (self.zero_shot is None) != (self.classes is None):
            raise UserError("--eval.zero-shot and --eval.classes go together; give both, or neither")


@dataclass(frozen=True, kw_only=True)
class Curate:
    """How lists become a selection. Without --source: those of the embedded corpus."""

    source: tuple[str, ...] = path_or_name(())
    """Lists of (url, caption): Parquet, csv, tsv or jsonl files, or folders of them. Or data that is there: folders
    that img2dataset wrote, WebDataset tars ('…/{00000..00012}.tar'), local or by url, caption tables beside pictures,
    releases of a data set (releases:NAME, releases:NAME@3).
    """
    corpus: Corpus = Corpus()
    ingest: Ingest = Ingest()
    adopt: Adopt = Adopt()
    fetch: Fetch = Fetch()
    score: Score = Score()
    filter: Filter = Filter()
    dedup: Dedup = Dedup()
    semantic: Semantic = Semantic()
    select: Select = Select()
    report: Report = Report()
    eval: Sets = Sets()


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where the lists come from: files of the user's, or the embedded corpus, which also serves its pictures."""

    pairs: tuple[str, ...] | ResultFile
    retrieval: Path | ResultFile | None
    zero_shot: Path | ResultFile | None
    classes: Path | ResultFile | None
    truth: Path | ResultFile | None
    serve: Step | None


def inputs_of(config: Curate) -> Inputs:
    if config.source:
        sets = config.eval
        return Inputs(
            pairs=config.source,
            retrieval=sets.retrieval,
            zero_shot=sets.zero_shot,
            classes=sets.classes,
            truth=config.report.truth,
            serve=None,
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
        truth=config.report.truth or made.file("truth.parquet"),
        serve=made,
    )


def check_data(config: Curate) -> None:
    """Tell now what would otherwise be told after the download."""
    filter.check_detector(config.filter)
    read_never_store(config.fetch.never_store)
    if config.report.truth is not None:
        check_truth(config.report.truth)
    if config.select.balance is not None:
        read_entries(config.select.balance)
    if config.source and config.corpus != Corpus():
        raise UserError(
            "--corpus.… is for the embedded corpus, which --source takes the place of; leave out one of them"
        )


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Steps that no rule changes: the pictures, what is alike among them, and what they share with other sets."""

    images: Step
    hashes: Step
    near: Step
    sets: dict[str, Step]
    seen: tuple[Step, ...]
    """What the pictures have in common with each evaluation set."""
    against: tuple[Step, ...]
    """And with other data sets."""
    checks: tuple[Step, ...] = ()
    """What must have ended well before pictures are hashed and scored."""


def fetched(config: Curate, inputs: Inputs) -> DataSet:
    """Every picture is fetched and hashed once, whatever rules ask."""

    def pictures(name: str, source: tuple[str, ...] | Path | ResultFile, settings: Ingest) -> Step:
        return images_of(
            (source,) if isinstance(source, Path) else source,
            ending=name,
            ingest_settings=settings,
            fetch=config.fetch,
            adopt_settings=config.adopt,
            serve=inputs.serve,
        )

    images, checks = checked(pictures("", inputs.pairs, config.ingest), inputs.truth)
    sets: dict[str, Step] = {}
    if inputs.retrieval is not None:
        sets["retrieval"] = pictures("-retrieval", inputs.retrieval, config.ingest)
    if inputs.zero_shot is not None:
        labelled = replace(config.ingest, needs_caption=False)
        sets["zero_shot"] = pictures("-zero-shot", inputs.zero_shot, labelled)
    hashes = replace(step("hash", hash.run, images=images), after=checks)

    def shared(end: str, name: str, others: Step | Path, near: Near) -> Step:
        return step(f"matches-{end}", matches.run, hashes=hashes, others=others, name=name, near=near)

    seen = []
    for name, found in sets.items():
        end = name.replace("_", "-")
        seen.append(shared(end, name, step(f"hash-{end}", hash.run, images=found), config.select.near))
    folders = [folder for path in config.dedup.against for folder in hash_folders(path)]
    against = [
        shared(f"against-{number}", str(folder), folder, config.dedup.near) for number, folder in enumerate(folders, 1)
    ]
    return DataSet(
        images=images,
        hashes=hashes,
        near=step("near", near.run, hashes=hashes, near=config.dedup.near),
        sets=sets,
        seen=tuple(seen),
        against=tuple(against),
        checks=checks,
    )


def checked(images: Step, given: Path | ResultFile | None) -> tuple[Step, tuple[Step, ...]]:
    """The step of the pictures, and what checks that a truth which was given is one of theirs: where there is a list,
    before any of it is fetched."""
    if not isinstance(given, Path):
        return images, ()
    rows = images.inputs.get("pairs")
    check = step("truth", truth.run, rows=rows or images, truth=given)
    return (images if rows is None else replace(images, after=(check,))), (check,)


def selected(config: Curate, data_set: DataSet, columns: dict[str, Step] | None = None, arm: str = "") -> Step:
    """The selection that the settings' rules make of a data set.

    `columns` are steps of judges, by name, that are there already; those that are made are added. `arm` ends the names
    of the steps that the rules decide.
    """
    images, hashes = data_set.images, data_set.hashes
    columns = {} if columns is None else columns
    check_scores(config.score, config.semantic, filter.asked_rules(config.filter))
    add_scores(config.score, images, columns, filter.judges_of(config.filter), data_set.checks)
    judged = measured(config.filter, images, columns)
    rules = tuple(str(rule) for rule in filter.asked_rules(config.filter))  # a set by what is in it, not by its name
    verdicts = step(
        f"filter{arm}", filter.run, images=images, columns=judged, filter=replace(config.filter, rules=rules)
    )
    scored = (columns["score"],) if "score" in columns else ()
    copies = step(f"dedup{arm}", dedup.run, images=images, near=data_set.near, verdicts=verdicts, scores=scored)
    seen = data_set.seen if config.select.decontaminate else ()
    matched = (*seen, *data_set.against)
    left: dict[str, Any] = {"verdicts": verdicts, "copies": copies, "near": data_set.near, "matches": matched}
    shown = semantic_of(config.semantic, columns, left, arm)
    return step(
        f"select{arm}",
        select.run,
        verdicts=verdicts,
        copies=copies,
        hashes=hashes,
        evaluations=seen,
        against=data_set.against,
        **({} if shown is None else {"semantic": shown}),
        select=config.select,
    )


def reported(
    config: Curate,
    inputs: Inputs,
    data_set: DataSet,
    selection: Step,
    columns: dict[str, Step],
    arm: str = "",
    same: Step | None = None,
) -> Step:
    """The page about a selection: `columns` are all that judges found, whether a rule asked for it or not. `same` says
    which other arm selects the same."""
    verdicts, copies = selection.inputs["verdicts"], selection.inputs["copies"]
    asked = verdicts.inputs["columns"]
    others = tuple(columns[name] for name in sorted(columns) if name in JUDGES and columns[name] not in asked)
    return step(
        f"report{arm}",
        report.run,
        images=data_set.images,
        columns=(*asked, *others),
        verdicts=verdicts,
        copies=copies,
        selection=selection,
        evaluations=tuple(data_set.sets.values()),
        names=tuple(data_set.sets),
        report=replace(config.report, against=None, truth=None),
        semantic=selection.inputs.get("semantic"),
        **({} if same is None else {"same": same}),
        against=report.against_of(config.report),
        truth=inputs.truth,
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
