"""Samples of a data set that are made up: values by quantity, and rows."""

import numpy as np
import pyarrow as pa

from vlp_core.curation.quantities import of_captions
from vlp_core.curation.rules import Rule
from vlp_core.curation.verdicts import judged
from vlp_core.identity import uid_of
from vlp_core.report.sample import Sample


def sample_with(
    counts: list[int], values: dict[str, np.ndarray], rules: tuple[Rule, ...] = (), **more: object
) -> Sample:
    """Pictures with so many captions each and these values; the rules say what fell, all that passes is selected."""
    texts = [[f"caption {row} {number}" for number in range(count)] for row, count in enumerate(counts)]
    captions = pa.array(texts, pa.list_(pa.string()))
    verdicts = judged(rules, captions, values)
    urls = [f"http://h{row % 3}.test/{row}" for row in range(len(counts))]
    uids = [uid_of(url) for url in urls]
    names = pa.array([str(rule) for rule in rules], pa.string())
    rule = names.take(pa.array(verdicts.rule, mask=verdicts.rule < 0))
    left = {text for kept in verdicts.captions.to_pylist() for text in kept}
    passed = np.array([text in left for row in texts for text in row], bool)
    known = {
        "listed": pa.table({"uid": uids, "url": urls, "error_message": pa.nulls(len(uids), pa.string())}),
        "pictures": pa.table(
            {"uid": uids, "url": urls, "sha256": uids, "captions": captions.cast(pa.large_list(pa.large_string()))}
        ),
        "values": values,
        "rule": rule,
        "selected": verdicts.rule < 0,
        "chosen_captions": passed & np.repeat(verdicts.rule < 0, counts),
        "shards": 1,
        "shards_in_all": 1,
    }
    assert all(len(found) == (sum(counts) if of_captions(name) else len(counts)) for name, found in values.items())
    return Sample(**(known | more))  # type: ignore[arg-type]
