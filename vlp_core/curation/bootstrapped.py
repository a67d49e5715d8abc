"""Of the captions of a selection and those that a model wrote for its pictures, those stay that match."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vlp_core.errors import UserError
from vlp_core.files import wide

WEB, SYNTHETIC = "web", "synthetic"


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The captions of a selection, picture by picture, those of the web before the one that was written."""

    rows: pa.Table
    """SELECTION by uid: the pictures."""
    owner: np.ndarray
    """int64 [M]: which of the rows a caption is of, ascending."""
    captions: pa.LargeStringArray
    """[M]"""
    synthetic: np.ndarray
    """bool [M]: whether a model wrote it."""
    match: np.ndarray
    """float32 [M]: the probability that it matches."""

    @staticmethod
    def read(rows: pa.Table, captioned: pa.Table) -> "Judged":
        """A selection's rows with what was told of their captions (CAPTIONED in any order).

        UserError where that is of another selection.
        """
        told = wide(captioned)
        at = pc.index_in(rows["uid"], value_set=told["uid"].combine_chunks())
        told = told.take(at.drop_null()).combine_chunks()
        web, match = (column.combine_chunks() for column in (rows["captions"], told["web_match"]))
        if at.null_count or not pc.list_value_length(web).equals(pc.list_value_length(match)):
            raise UserError("the captions were written for another selection; make them again")
        written = np.flatnonzero(told["synthetic"].is_valid().to_numpy(zero_copy_only=False))
        owner = np.concatenate([pc.list_parent_indices(web).to_numpy(), written])
        order = np.argsort(owner, kind="stable")
        texts = pa.concat_arrays([pc.list_flatten(web), told["synthetic"].combine_chunks().drop_null()])
        probabilities = pa.concat_arrays([pc.list_flatten(match), told["synthetic_match"].combine_chunks().drop_null()])
        return Judged(
            rows=rows,
            owner=owner[order],
            captions=texts.take(pa.array(order)),
            synthetic=order >= len(order) - len(written),
            match=probabilities.to_numpy()[order],
        )

    def kept(self, threshold: float) -> np.ndarray:
        """bool [M]: whose probability is not below the threshold."""
        return self.match >= np.float32(threshold)

    def selection(self, kept: np.ndarray) -> pa.Table:
        """SELECTION of the pictures that have a caption left, with those, each once."""
        words = pc.dictionary_encode(self.captions)
        at = np.flatnonzero(kept)
        text = self.owner[at] * len(words.dictionary) + words.indices.to_numpy()[at]
        at = at[np.sort(np.unique(text, return_index=True)[1])]
        left, counts = np.unique(self.owner[at], return_counts=True)
        captions = pa.LargeListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(counts)])), self.captions.take(pa.array(at))
        )
        rows = self.rows.take(pa.array(left))
        return rows.set_column(rows.column_names.index("captions"), "captions", captions)

    def counts(self, kept: np.ndarray) -> dict[str, dict[str, int]]:
        """Captions that stay and go, by where they come from."""
        return {
            source: {"kept": int((kept & made).sum()), "dropped": int((~kept & made).sum())}
            for source, made in ((WEB, ~self.synthetic), (SYNTHETIC, self.synthetic))
        }
