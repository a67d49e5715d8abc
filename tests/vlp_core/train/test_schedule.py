import pytest

from vlp_core.train.schedule import learning_rate
from vlp_core.train.settings import Train


class Group:
    """An optimiser as open_clip's schedule wants one."""

    def __init__(self):
        self.param_groups = [{}]


@pytest.mark.parametrize(("steps", "warmup"), [(20, 5), (20, 0), (7, 6)])
def test_rates_are_those_of_open_clip(steps, warmup):
    from open_clip_train.scheduler import cosine_lr

    theirs = cosine_lr(Group(), 1e-3, warmup, steps)
    train = Train(steps=steps, warmup=warmup, lr=1e-3)
    assert [learning_rate(step, train) for step in range(1, steps + 1)] == pytest.approx(
        [theirs(s) for s in range(steps)]
    )


def test_a_run_shorter_than_its_warm_up_ends_at_the_peak():
    train = Train(steps=4, warmup=100, lr=1.0)
    assert [learning_rate(step, train) for step in range(1, 5)] == [0.25, 0.5, 0.75, 1.0]
