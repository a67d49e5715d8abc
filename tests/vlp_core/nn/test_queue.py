"""A queue holds the newest rows, wherever its end has come to stand."""

import pytest
import torch

from vlp_core.nn.queue import Queue

DIM = 3


def rows(start: int, count: int) -> dict[str, torch.Tensor]:
    """Rows that say by their number which they are."""
    number = torch.arange(start, start + count)
    values = number[:, None].float().expand(-1, DIM)
    return {"images": values, "texts": -values, "image_id": number, "text_id": -number}


@pytest.mark.parametrize(
    ("size", "pushes"),
    [
        (8, [3]),
        (8, [4, 4]),
        (8, [3, 3, 3]),
        (8, [5] * 7),
        (8, [8, 1]),
        (8, [11]),
        (8, [3, 20, 2]),
        (1, [1, 1, 4]),
    ],
    ids=str,
)
def test_a_queue_holds_the_newest_rows_whole(size: int, pushes: list[int]) -> None:
    queue, pushed = Queue(size, DIM), 0
    for count in pushes:
        queue.push(**rows(pushed, count))
        pushed += count
    held = queue.filled()
    assert sorted(queue.image_id[held].tolist()) == list(range(max(0, pushed - size), pushed))
    # What is said of a row stays together.
    assert torch.equal(queue.images[held], queue.image_id[held, None].float().expand(-1, DIM))
    assert torch.equal(queue.texts[held], -queue.images[held])
    assert torch.equal(queue.text_id[held], -queue.image_id[held])


def test_the_oldest_row_makes_room_and_the_others_stay_where_they_are() -> None:
    queue = Queue(4, DIM)
    queue.push(**rows(0, 4))
    queue.push(**rows(4, 1))
    assert queue.image_id.tolist() == [4, 1, 2, 3]


def test_an_empty_queue_holds_nothing() -> None:
    assert not Queue(4, DIM).filled().any()


def test_a_queue_that_comes_back_from_a_checkpoint_goes_on_where_it_was() -> None:
    queue, resumed = Queue(5, DIM), Queue(5, DIM)
    queue.push(**rows(0, 7))
    resumed.load_state_dict(queue.state_dict())
    for each in (queue, resumed):
        each.push(**rows(7, 2))
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in queue.state_dict().items())


def test_rows_keep_no_graph_and_the_queue_its_precision() -> None:
    queue = Queue(2, DIM)
    vectors = torch.rand(2, DIM, dtype=torch.bfloat16, requires_grad=True)
    ids = torch.arange(2)
    queue.push(images=vectors * 2, texts=vectors, image_id=ids, text_id=ids)
    assert not queue.images.requires_grad and queue.images.dtype == torch.float32
