"""Parts of speech of English captions, by a tagger whose model comes with its package."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa

from vlp_core.curation.shard import Shard

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")  # words without what stands around them
_LONGEST = 40  # letters of a word: the tagger takes the square of them, and the web has captions without a space
_NOUNS = ("NN", "NP")
_DETERMINERS = ("AT", "DT", "DPS")


def of_texts(shard: Shard) -> Mapping[str, pa.Array]:
    """Nouns and determiners in each caption: tags NN*, NP0 and AT0, DT*, DPS of the British National Corpus.

    By HanTa (Wartena, A Probabilistic Morphology Model for German Lemmatization, KONVENS 2019). Words of more than 40
    letters are none.
    """
    nouns, determiners = [], []
    for text in shard.texts.to_pylist():
        tags = _tagger().tag_sent([word for word in _TOKEN.findall(text) if len(word) <= _LONGEST], taglevel=0)
        nouns.append(sum(tag.startswith(_NOUNS) for tag in tags))
        determiners.append(sum(tag.startswith(_DETERMINERS) for tag in tags))
    return {"nouns": pa.array(nouns, pa.int32()), "determiners": pa.array(determiners, pa.int32())}


@cache
def _tagger() -> Any:
    from HanTa.HanoverTagger import HanoverTagger

    tagger = HanoverTagger("morphmodel_en.pgz")
    tagger.analyze_forward = lru_cache(2**16)(tagger.analyze_forward)  # words that its model lacks come back often
    return tagger
