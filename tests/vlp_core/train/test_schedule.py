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


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_the_rate_falls_from_its_peak_to_its_end(decay):
    train = Train(steps=1001, warmup=1, lr=1.0, lr_end=0.1, lr_decay=decay)
    rates = [learning_rate(step, train) for step in range(1, 1002)]
    assert rates == sorted(rates, reverse=True)
    assert (rates[0], rates[1], rates[501]) == pytest.approx((1.0, 1.0, 0.55))
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    # A quarter of the way a line has lost a quarter of the height, and half a cosine less.
    assert rates[251] == pytest.approx(0.775 if decay == "linear" else 0.868, abs=1e-3)
