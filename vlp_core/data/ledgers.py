"""LEDGER from one release to the next."""

import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.data.layout import LEDGER, SUCCESS


def merged(new: pa.Table, before: pa.Table) -> pa.Table:
    """LEDGER of what was asked, after what was known of it (row by row; null throughout where that is nothing).

    Attempts add up and the first stays the first. What a body was known by stays known as long as no other has come:
    a link that does not answer now may do so again.
    """
    columns = {name: new[name] for name in LEDGER.names}
    columns["attempts"] = pc.add(new["attempts"], pc.fill_null(before["attempts"], 0))
    columns["first_asked"] = pc.coalesce(before["first_asked"], new["first_asked"])
    came = pc.equal(new["outcome"], SUCCESS)
    for name in ("etag", "last_modified", "sha256"):
        columns[name] = pc.if_else(came, new[name], pc.coalesce(new[name], before[name]))
    return pa.table(columns).cast(LEDGER)
