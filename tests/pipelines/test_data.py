"""The steps from lists to a selection: what is found once, and which settings each step has."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data import Curate, check_data, fetched, inputs_of, reported, selected
from pipelines.workflow.step import Step, walk
from tests.jobs.test_hashed import write_hashes
from tests.vlp_core.data.folders import write_images
from tests.vlp_core.evals.builders import model_folder
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.curation.score_settings import Score
from vlp_core.curation.settings import Dedup, Filter, Near, Select
from vlp_core.errors import UserError
from vlp_core.report.settings import Report


@pytest.mark.parametrize("decontaminate", [True, False])
def test_copies_are_looked_for_as_settings_say_here_in_evaluation_sets_and_in_other_data_sets(
    decontaminate: bool, tmp_path: Path
) -> None:
    other = write_hashes(tmp_path / "other", [3])
    config = Curate(
        dedup=Dedup(near=Near(bits=2), against=(other,)),
        select=Select(near=Near(bits=1), decontaminate=decontaminate),
    )
    pictures = fetched(config, inputs_of(config))
    steps = {step.name: step for step in walk([selected(config, pictures)])}
    bits = {name: step.inputs["near"].bits for name, step in steps.items() if name.startswith(("near", "matches"))}
    evaluations = ("matches-retrieval", "matches-zero-shot") if decontaminate else ()
    assert bits == {"near": 2, "matches-against-1": 2, **dict.fromkeys(evaluations, 1)}
    assert steps["matches-against-1"].inputs["others"] == other
    assert steps["matches-against-1"].inputs["name"] == str(other)
    select = steps["select"].inputs
    assert [step.name for step in select["evaluations"]] == list(evaluations)
    assert select["against"] == (steps["matches-against-1"],)
    page = reported(config, inputs_of(config), pictures, steps["select"], {})
    assert page.inputs["names"] == ("retrieval", "zero_shot")  # as the steps that look for them are told
    assert {steps[name].inputs["name"] for name in evaluations} in ({*page.inputs["names"]}, set())


@pytest.mark.parametrize(
    ("source", "checked", "waiting"),
    [("links.csv", "ingest", {"download", "hash", "score"}), ("set", "adopt", {"hash", "score"})],
)
def test_a_truth_is_held_against_the_list_before_pictures_are_fetched_or_scored(
    source: str, checked: str, waiting: set[str], tmp_path: Path
) -> None:
    (tmp_path / "links.csv").write_text("url,caption\nhttp://a.test/1,one\n")
    write_images(tmp_path / "set", [2], foreign=True)
    truth = tmp_path / "truth.parquet"
    model = str(model_folder(tmp_path / "model", 3))

    def steps(given: Path | None) -> dict[str, Step]:
        config = Curate(source=(str(tmp_path / source),), report=Report(truth=given), score=Score(model=model))
        check_data(config)
        return {step.name: step for step in walk([selected(config, fetched(config, inputs_of(config)))])}

    with pytest.raises(UserError, match=r"^--report\.truth .*truth\.parquet: no such file; give a Parquet table of"):
        steps(truth)
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in ("uid", "kind", "original")}), truth)
    found = steps(truth)
    assert found["truth"].inputs["rows"] is found[checked]
    assert {name for name, step in found.items() if step.after == (found["truth"],)} == waiting
    assert not [step for step in steps(None).values() if step.after or step.name == "truth"]


def test_a_set_of_rules_counts_by_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged() -> Filter:
        config = Curate(filter=Filter(rules=("datacomp_basic", "side>=300")))
        return selected(config, fetched(config, inputs_of(config))).inputs["verdicts"].inputs["filter"]

    assert judged().rules == ("captions>=1", "listed=yes", *RULE_SETS["datacomp_basic"], "side>=300")
    monkeypatch.setitem(RULE_SETS, "datacomp_basic", ("words>3",))
    assert judged().rules == ("captions>=1", "listed=yes", "words>3", "side>=300")
