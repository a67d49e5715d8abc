"""A folder that is there, adopted."""

from pathlib import Path

from jobs.adopt_shard import Task, adopt_shard
from vlp_core.data.layout import shard_name
from vlp_core.data.parts import parts_of


def adopted(folder: Path, out: Path) -> Path:
    for number, part in enumerate(parts_of(str(folder))):
        adopt_shard(Task(part=part, name=shard_name(number), out=out, caption_names=("caption",), skip=False))
    return out
