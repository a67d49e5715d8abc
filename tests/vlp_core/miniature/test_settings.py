import itertools

import pytest

from vlp_core.errors import UserError
from vlp_core.miniature.scenes import COLOURS, backgrounds_for
from vlp_core.miniature.settings import Corpus


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"scenes": 3}, "scenes is 3"),
        ({"per_class": 0}, "per_class is 0"),
        ({"held_out": 17}, "held_out is 17"),
        ({"dead": 1.5}, "dead is 1.5"),
        ({"wrong": -0.1}, "wrong is -0.1"),
        ({"slow": 0.4, "flaky": 0.2}, "slow, flaky and redirect"),
    ],
)
def test_impossible_settings_are_refused_by_name(wrong: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        Corpus(**wrong)


def test_every_pair_of_colours_has_backgrounds_to_stand_out_from() -> None:
    for pair in itertools.combinations_with_replacement(COLOURS, 2):
        assert len(backgrounds_for(*pair)) >= 2, pair
