"""The steps from lists to a selection: what is found once, and which settings each step has."""

from pathlib import Path

import pytest

from pipelines.data import Curate, fetched, inputs_of, selected
from pipelines.workflow.step import walk
from tests.jobs.test_hashed import write_hashes
from vlp_core.curation.rule_sets import RULE_SETS
from vlp_core.curation.settings import Dedup, Filter, Near, Select


@pytest.mark.parametrize("decontaminate", [True, False])
def test_copies_are_looked_for_as_settings_say_here_in_evaluation_sets_and_in_other_data_sets(
    decontaminate: bool, tmp_path: Path
) -> None:
    other = write_hashes(tmp_path / "other", [3])
    config = Curate(
        dedup=Dedup(near=Near(bits=2), against=(other,)),
        select=Select(near=Near(bits=1), decontaminate=decontaminate),
    )
    steps = {step.name: step for step in walk([selected(config, fetched(config, inputs_of(config)))])}
    bits = {name: step.inputs["near"].bits for name, step in steps.items() if name.startswith(("near", "matches"))}
    evaluations = ("matches-retrieval", "matches-zero-shot") if decontaminate else ()
    assert bits == {"near": 2, "matches-against-1": 2, **dict.fromkeys(evaluations, 1)}
    assert steps["matches-against-1"].inputs["others"] == other
    assert steps["matches-against-1"].inputs["name"] == str(other)
    select = steps["select"].inputs
    assert [step.name for step in select["evaluations"]] == list(evaluations)
    assert select["against"] == (steps["matches-against-1"],)


def test_a_set_of_rules_counts_by_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged() -> Filter:
        config = Curate(filter=Filter(rules=("datacomp_basic", "side>=300")))
        return selected(config, fetched(config, inputs_of(config))).inputs["verdicts"].inputs["filter"]

    assert judged().rules == ("captions>=1", *RULE_SETS["datacomp_basic"], "side>=300")
    monkeypatch.setitem(RULE_SETS, "datacomp_basic", ("words>3",))
    assert judged().rules == ("captions>=1", "words>3", "side>=300")
