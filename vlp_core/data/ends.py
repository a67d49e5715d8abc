"""Whether shards are whole, as far as the ends of their files tell: no look takes longer at a larger shard."""

from collections.abc import Sequence
from pathlib import Path

from vlp_core.data import store
from vlp_core.data.index import index_pictures
from vlp_core.data.parts import Part
from vlp_core.data.tar import BLOCK, TarError
from vlp_core.errors import UserError, first_line, public_text

_FOOTER = 8  # bytes: how long what is before them is, and the magic number
_FAR_AHEAD = 2**23  # bytes that are read at once of a remote tar


def check_ends(parts: Sequence[Part]) -> None:
    """UserError for the first shard that is cut off, or whose files are not what they are called.

    Of remote shards only the listed sizes are looked at. A tar that does not end as most do is read header by header.
    """
    for part in parts:
        try:
            if part.pictures.endswith(".tar") and _ends_oddly(part):
                _walk(part)
            if part.rows is not None and not store.is_url(part.rows):
                _check_footer(part.rows)
        except OSError as error:
            raise UserError(f"{public_text(part.pictures)}: cannot be read ({first_line(error)}); mend it") from error


def _ends_oddly(part: Part) -> bool:
    """Tars are whole blocks, the last of them empty; what follows their end does not matter to who reads them."""
    if part.size % BLOCK or part.size < 2 * BLOCK:
        return True
    return not store.is_url(part.pictures) and any(store.read_bytes(part.pictures, part.size - BLOCK, part.size))


def _walk(part: Part) -> None:
    ahead = {"ahead": _FAR_AHEAD} if store.is_url(part.pictures) else {}
    try:
        with store.reading(part.pictures) as read:
            index_pictures(read, part.size, **ahead)
    except TarError as error:
        raise UserError(
            f"{public_text(part.pictures)}: truncated or not a tar ({error}); give a whole copy, leave it out, or have "
            "all such left out with --adopt.skip-damaged"
        ) from None


def _check_footer(rows: str) -> None:
    size = Path(rows).stat().st_size
    if size < _FOOTER or store.read_bytes(rows, size - 4, size) != b"PAR1":
        raise UserError(
            f"{rows}: truncated or not a Parquet file (no footer at its end); give a whole copy, leave its shard out, "
            "or have all such left out with --adopt.skip-damaged"
        )
