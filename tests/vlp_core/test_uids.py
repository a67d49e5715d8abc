"""Names as numbers: the same joins and orders as of the texts themselves, whatever they are made of."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from vlp_core.identity import uid_of
from vlp_core.uids import digest_of_texts, draws, firsts, names, positions, words

HEX = [uid_of(str(number)) for number in range(40)]
OTHERS = [[*HEX[:3], "page 4"], [text.upper() for text in HEX[:4]], [f"{text[:-2]} 0" for text in HEX[:4]]]


@pytest.mark.parametrize("texts", [HEX, *OTHERS], ids=["hex", "text", "upper", "spaces"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_are_found_where_they_stand(texts: list[str], kind: pa.DataType) -> None:
    among = pa.chunked_array([texts[2:], texts[:1], texts[2:3]], kind)
    wanted = pa.array(["zero", *texts], kind).slice(1)
    assert positions(wanted, among).tolist() == pc.fill_null(pc.index_in(wanted, value_set=among), -1).to_pylist()


def test_words_are_the_digits_and_only_of_lower_case_hex() -> None:
    found = words(pa.array(HEX))
    assert found is not None and [f"{high:016x}{low:016x}" for high, low in found.tolist()] == HEX
    assert [words(pa.array(texts)) for texts in OTHERS] == [None] * 3
    assert words(pa.array([HEX[0], None])) is None


def test_the_first_of_equal_rows_stands_for_all() -> None:
    texts = np.random.default_rng(0).choice(HEX, 200).tolist()
    assert firsts(names(pa.array(texts))).tolist() == [texts.index(text) for text in texts]
    tied = np.random.default_rng(0).integers(0, 3, (200, 3)).astype(np.uint64)  # words that agree before others do not
    assert firsts(tied).tolist() == [tied.tolist().index(row) for row in tied.tolist()]
    assert firsts(tied[:0]).tolist() == []


def test_what_is_drawn_for_a_uid_depends_on_it_and_the_seed_alone() -> None:
    one, two = (draws(pa.array(HEX), seed) for seed in (1, 2))
    assert np.array_equal(draws(pa.array(HEX[5:9]), 1), one[5:9]) and not (one == two).any()


def test_chunks_do_not_change_a_digest() -> None:
    whole = digest_of_texts(pa.array(HEX))
    assert digest_of_texts(pa.chunked_array([HEX[:7], [], HEX[7:]], pa.large_string())) == whole
    assert digest_of_texts(pa.array(HEX[1:])) != whole
