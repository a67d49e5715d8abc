"""Register a model: an open_clip export with its card, a version of it, and the champion's alias if it won."""

import json
from dataclasses import replace
from pathlib import Path

from jobs.champion import choose_metric
from jobs.evaluate import DATA_DIGEST, SCORES_FILE, Work, digest_of_data, scored
from jobs.model_card import Sources, read_json, write_export
from jobs.registry import Registry, Standing
from vlp_core.errors import UserError
from vlp_core.evals.settings import Evaluate, Register
from vlp_core.files import write_text
from vlp_core.identity import digest_of, sha256_of_file
from vlp_core.tracker import Summary, Tracker
from vlp_core.train.trained_on import selections_of

VERSION = "1"


def run(
    *,
    model: Path,
    scores: Path,
    selection: Path,
    retrieval: Path | None = None,
    zero_shot: Path | None = None,
    classes: Path | None = None,
    dual: Path | None = None,
    register: Register,
    evaluate: Evaluate | None = None,
    registry: str | None = None,  # noqa: ARG001 - which registry it is belongs to what registering is
    out: Path,
    tracker: Tracker,
) -> Summary:
    """Write `export/` and register it with MLflow under the run MLFLOW_RUN_ID.

    Running it again for the same model adds nothing to the registry.

    Args:
        model: a model folder (model.safetensors, config.json).
        scores: where scores.json of this model lies.
        selection: where selection.json lies: the data it was trained on.
        retrieval, zero_shot, classes, dual: the evaluation data, and who brings candidates, for scoring the champion
            again where they changed.
        evaluate: how the model was scored, and the champion will be.
        registry: the address of the MLflow server without credentials; it is reached by MLFLOW_TRACKING_URI.

    Raises:
        UserError: a metric that the scores lack, or a server that does not answer or fails on the way.
    """
    values = read_json(scores / SCORES_FILE)
    judged_on = str(values.pop(DATA_DIGEST))
    metric = choose_metric(register.metric, values)
    config, selected = read_json(model / "config.json"), read_json(selection / "selection.json")
    sources = Sources(
        name=register.name,
        config=config,
        selection=selected,
        scores=values,
        data_digest=judged_on,
        start=tuple(digest for digest in selections_of(model) if digest != selected["digest"]),
    )
    server = Registry.connect(register.name)
    write_export(out / "export", model, sources)
    tracker.progress(1, 3, unit="parts")

    def rescore(folder: Path) -> float | None:
        work = Work(
            model=model,
            retrieval=retrieval,
            zero_shot=zero_shot,
            classes=classes,
            dual=dual,
            evaluate=evaluate or Evaluate(),
        )
        if digest_of_data(work) != judged_on:
            raise UserError("the scores are of other evaluation data than was given; evaluate this model again")
        return scored(replace(work, model=folder))[0].get(metric)

    with server.failures_told(), server.turn():
        digest = digest_of([sha256_of_file(model / "model.safetensors"), config])
        model_id = server.log_model(out / "export", sources, digest)
        server.log_lineage(model_id, sources, selection)
        version = server.version(model_id, sources, digest)
        tracker.progress(2, 3, unit="parts")

        decision = server.settle(version, Standing(metric=metric, score=values[metric], data=judged_on), rescore)
    told = {
        "name": register.name,
        "version": version,
        "model_id": model_id,
        "run_id": server.run_id,
        "champion": decision.champion,
        "reason": decision.reason,
    }
    write_text(out / "_registered.json", json.dumps(told, indent=2, sort_keys=True) + "\n")
    place = f"{register.name} version {version}: {'the champion' if decision.champion else 'a candidate'}"
    link = {f"{place}, {decision.reason}": f"#/models/{register.name}/versions/{version}"}
    write_text(out / "_LINKS.json", json.dumps(link) + "\n")
    tracker.progress(3, 3, unit="parts")
    return Summary(counts={metric: values[metric]})  # who is champion is the registry's to say and may change
