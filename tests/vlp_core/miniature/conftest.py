"""One small web for all tests of the package."""

import pytest

from vlp_core.miniature.settings import Corpus
from vlp_core.miniature.weave import Web


@pytest.fixture(scope="session")
def web() -> Web:
    return Web(Corpus(scenes=160, retrieval=30, per_class=1, per_held_out_class=2, near=0.25, exact=0.1, leak=0.05))
