import torch

from vlp_core.batch import Batch


def test_moving_a_batch_keeps_all_of_it() -> None:
    batch = Batch(
        pixels=torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        tokens=torch.ones(2, 5, dtype=torch.int64),
        image_id=torch.tensor([1, 2]),
        text_id=torch.tensor([3, 4]),
        key=torch.tensor([5, 6]),
        uid=["a", "b"],
    )
    moved = batch.to("meta")
    assert {
        moved.pixels.device.type,
        moved.tokens.device.type,
        moved.image_id.device.type,
        moved.text_id.device.type,
        moved.key.device.type,
    } == {"meta"}
    assert moved.uid == ["a", "b"] and len(moved) == 2
    assert moved.pixels.shape == batch.pixels.shape and moved.pixels.dtype == torch.uint8
