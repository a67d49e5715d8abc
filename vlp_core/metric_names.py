"""Names of metrics as MLflow takes them; here, because stages and the workflow must agree on them."""

import re

DATASET_DIGEST_CHARS = 36
"""What MLflow keeps of a data set's digest."""


def metric_name(name: str) -> str:
    """A name that MLflow takes: `lost/side>=200` becomes `lost/side ge 200`, `r@10` becomes `r_10`."""
    for sign, word in ((">=", " ge "), ("<=", " le "), (">", " gt "), ("<", " lt "), ("=", " is ")):
        name = name.replace(sign, word)
    return re.sub(r"[^\w\-. :/]", "_", name)
