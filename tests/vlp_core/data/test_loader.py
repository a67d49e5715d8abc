import io
import threading
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.vlp_core.data.folders import write_images, write_selection
from vlp_core.batch import Batch
from vlp_core.data.index import index_tar
from vlp_core.data.loader import Loader
from vlp_core.data.samples import Samples, text_id
from vlp_core.data.tokens import tokenizer_of
from vlp_core.data.transforms import Transform
from vlp_core.errors import UserError

COUNT = 53
TOKENIZE = tokenizer_of({"context_length": 12})
TRANSFORM = Transform(size=16, crop_scale=(0.3, 1.0), flip=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, [20, COUNT - 20])
    return folder


@pytest.fixture(scope="module")
def samples(folder: Path) -> Samples:
    return Samples.open(folder)


def take(samples: Samples, count: int, **settings: int) -> list[Batch]:
    given = {"seed": 3, "batch_size": 12, "block": 4, "window": 3} | settings
    with Loader(samples, tokenize=TOKENIZE, transform=TRANSFORM, **given) as loader:
        return list(islice(loader, count))


def joined(batches: list[Batch]) -> Batch:
    names = ("pixels", "tokens", "image_id", "text_id", "key")
    tensors = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}
    return Batch(uid=[uid for batch in batches for uid in batch.uid], **tensors)


def assert_equal(found: Batch, expected: Batch) -> None:
    assert found.uid == expected.uid
    for name in ("pixels", "tokens", "image_id", "text_id", "key"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_together_have_the_batches_of_one(samples: Samples, world: int) -> None:
    ranks = [take(samples, 10, rank=rank, world=world, threads=1 + rank) for rank in range(world)]
    for step, expected in enumerate(take(samples, 10)):
        assert_equal(joined([batches[step] for batches in ranks]), expected)


@pytest.mark.parametrize("how", [{"threads": 1, "prefetch": 1}, {"threads": 7, "prefetch": 5}, {"keep_bytes": 10**6}])
def test_threads_prefetch_and_what_is_kept_change_nothing(samples: Samples, how: dict[str, int]) -> None:
    assert_equal(joined(take(samples, 10, **how)), joined(take(samples, 10)))


@pytest.mark.parametrize("world", [1, 2])
def test_a_loader_that_resumes_at_a_cursor_gives_what_an_uninterrupted_one_does(samples: Samples, world: int) -> None:
    """Also across the ends of epochs, and with another number of ranks than before."""
    loader = Loader(samples, tokenize=TOKENIZE, transform=TRANSFORM, seed=3, batch_size=12, block=4, window=3)
    list(islice(loader, 7))
    loader.close()
    assert loader.cursor == 84
    ranks = [take(samples, 5, cursor=loader.cursor, rank=rank, world=world) for rank in range(world)]
    for step, expected in enumerate(take(samples, 12)[7:]):
        assert_equal(joined([batches[step] for batches in ranks]), expected)


def test_every_sample_once_an_epoch_and_drawn_anew_in_the_next(samples: Samples) -> None:
    stream = joined(take(samples, -(-3 * COUNT // 12)))
    epochs = [slice(epoch * COUNT, (epoch + 1) * COUNT) for epoch in range(3)]
    assert all(sorted(stream.uid[epoch]) == sorted(samples.uids.to_pylist()) for epoch in epochs)
    by_uid = [dict(zip(stream.uid[epoch], stream.pixels[epoch], strict=True)) for epoch in epochs[:2]]
    changed = sum(not torch.equal(by_uid[0][uid], by_uid[1][uid]) for uid in by_uid[0])
    assert changed == COUNT, "another crop in another epoch"
    drawn = Counter(stream.text_id.tolist())
    assert len(drawn) > 1.5 * COUNT, "both captions of most samples were drawn in three epochs"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="memory is pinned for a GPU")
def test_all_of_a_batch_lies_where_a_gpu_fetches_it_without_waiting(samples: Samples) -> None:
    (batch,) = take(samples, 1, pin=True)
    assert all(getattr(batch, name).is_pinned() for name in ("pixels", "tokens", "image_id", "text_id", "key"))


def test_what_belongs_together_stays_together(samples: Samples) -> None:
    """Tokens, identities and pixels at a place of the batch are those of the uid there."""
    where = {samples.uid(i): i for i in range(COUNT)}
    batch = joined(take(samples, 4))
    assert batch.pixels.shape == (48, 3, 16, 16) and batch.pixels.dtype == torch.uint8
    for row, uid in enumerate(batch.uid):
        i = where[uid]
        assert batch.image_id[row] == samples.image_ids[i]
        texts = {text_id(caption): caption for caption in samples.captions(i)}
        assert torch.equal(batch.tokens[row], TOKENIZE([texts[int(batch.text_id[row])]])[0])
        with Image.open(io.BytesIO(samples.image_bytes(i))) as image:
            average = torch.tensor(np.asarray(image).mean(axis=(0, 1)))
        assert (batch.pixels[row].float().mean(dim=(1, 2)) - average).abs().mean() < 40


def test_waiting_is_timed_and_closing_ends_the_threads(samples: Samples) -> None:
    before = threading.active_count()
    loader = Loader(samples, tokenize=TOKENIZE, transform=TRANSFORM, seed=0, batch_size=4)
    next(loader)
    waited = loader.wait_seconds
    next(loader)
    assert 0 < waited < loader.wait_seconds
    loader.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 54}, "53 samples are fewer than one batch of 54"),
        ({"batch_size": 10, "world": 4}, "batch size 10 cannot be shared by 4 ranks"),
    ],
)
def test_batches_that_cannot_be_are_refused(samples: Samples, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        take(samples, 1, **settings)


def test_samples_without_captions_are_refused(folder: Path, samples: Samples, tmp_path: Path) -> None:
    uids = samples.uids.to_pylist()
    selection = write_selection(tmp_path, uids, captions=[[]] + [["a caption"]] * (COUNT - 1))
    with pytest.raises(UserError, match=rf"1 samples have no caption, such as uid {uids[0]}"):
        take(Samples.open(folder, selection), 1)


def test_a_picture_that_cannot_be_decoded_is_named_with_its_shard(tmp_path: Path) -> None:
    pictures = write_images(tmp_path, [12])
    uid, body = list(pictures.items())[7]
    place = index_tar(tmp_path / "00000.tar").to_pylist()[7]
    with (tmp_path / "00000.tar").open("r+b") as tar:
        tar.seek(place["offset"])
        tar.write(b"<html>not a picture</html>".ljust(len(body)))
    with pytest.raises(UserError, match=rf"00000\.tar: the picture of uid {uid} cannot be decoded"):
        take(Samples.open(tmp_path), 1)


def test_weights_reach_the_batches(folder: Path, samples: Samples, tmp_path: Path) -> None:
    uids = samples.uids.to_pylist()
    selection = write_selection(tmp_path, uids, weights=[2.0] * 10 + [1.0] * 33 + [0.0] * 10)
    turns = Counter(joined(take(Samples.open(folder, selection), 1, batch_size=53)).uid)
    assert turns == Counter(uids[:10]) + Counter(uids[:43])
