"""The scorers of captions against CIDEr-D and BLEU-4 written out from their papers."""

import math
import re
from collections import Counter

import pytest

from vlp_core.evals.captions import scores

Counts = Counter[tuple[str, ...]]
Vector = dict[tuple[str, ...], float]
REFERENCES = {
    0: ["A red circle stands on a wall, near a door.", "there is a red circle on the wall"],
    1: ["two blue squares lie on the green grass"],
    2: ["a small green triangle below a star", "Under a star: a green triangle", "the triangle is green"],
    3: ["nobody sees the yellow dog's ball behind that fence"],
}
FIRST = {picture: texts[0] for picture, texts in REFERENCES.items()}


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def grams(text: str, n: int) -> Counts:
    words = words_of(text)
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(said: dict[int, str], right: dict[int, list[str]]) -> float:
    """Papineni et al., 2002, sections 2.1 to 2.3: over the whole corpus; of references the nearest in length counts."""
    logarithms = []
    for n in (1, 2, 3, 4):
        hits = total = 0
        for picture, text in said.items():
            most: Counts = Counter()
            for reference in right[picture]:
                most |= grams(reference, n)
            hits += sum((grams(text, n) & most).values())
            total += sum(grams(text, n).values())
        if hits == 0:
            return 0.0
        logarithms.append(math.log(hits / total))
    lengths = {picture: len(words_of(text)) for picture, text in said.items()}
    nearest = [
        min((len(words_of(reference)) for reference in right[picture]), key=lambda r, c=length: (abs(r - c), r))
        for picture, length in lengths.items()
    ]
    brevity = min(0.0, 1 - sum(nearest) / sum(lengths.values()))
    return math.exp(brevity + sum(logarithms) / 4)


def cider(said: dict[int, str], right: dict[int, list[str]], sigma: float = 6.0) -> float:
    """CIDEr-D (Vedantam et al., 2015, arXiv:1411.5726, section 6), its mean over the pictures; term frequencies are
    counts, as in the COCO evaluation."""

    def weighted(text: str, n: int) -> Vector:
        found = {}
        for gram, count in grams(text, n).items():
            pictures = sum(any(gram in grams(text, n) for text in texts) for texts in right.values())
            found[gram] = count * math.log(len(right) / max(1, pictures))
        return found

    def length(vector: Vector) -> float:
        return math.sqrt(sum(value**2 for value in vector.values()))

    def alike(text: str, reference: str, n: int) -> float:
        ours, theirs = weighted(text, n), weighted(reference, n)
        product = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs)
        apart = len(words_of(text)) - len(words_of(reference))
        norms = length(ours) * length(theirs)
        return math.exp(-(apart**2) / (2 * sigma**2)) * product / norms if norms else 0.0

    each = [
        10
        * sum(alike(text, reference, n) for n in (1, 2, 3, 4) for reference in right[picture])
        / 4
        / len(right[picture])
        for picture, text in said.items()
    ]
    return sum(each) / len(each)


FIXTURES = {
    "identical": FIRST,
    "another's words": {
        0: "a red circle on a wall",
        1: "blue squares on the grass",
        2: "a green triangle under a star",
        3: "the dog's ball",
    },
    "a word said over and over": FIRST | {0: "a a a a red red circle", 1: "the the the the the the the"},
    "shorter": {picture: " ".join(text.split()[:5]) for picture, text in FIRST.items()},
    "longer": {picture: f"{text} and {text}" for picture, text in FIRST.items()},
    "between two lengths": FIRST | {0: "there is a red circle near a door", 2: "a green triangle star now"},
    "in another order": FIRST | {1: "on the green grass two blue squares lie"},
    "nothing said of one": FIRST | {3: ""},
    "one word of one": FIRST | {3: "nobody"},
}


@pytest.mark.parametrize("said", FIXTURES.values(), ids=FIXTURES)
def test_scores_are_those_of_the_papers(said: dict[int, str]) -> None:
    found = scores(said, REFERENCES)
    assert found["cider"] == pytest.approx(cider(said, REFERENCES), abs=1e-6) and found["cider"] > 0
    assert found["bleu4"] == pytest.approx(bleu(said, REFERENCES), abs=1e-6) and found["bleu4"] > 0


def test_captions_that_are_their_only_references_have_the_highest_scores() -> None:
    """As long as no two pictures are told of in the same words; case and punctuation say nothing."""
    said = {0: "One red circle here!", 1: "two blue squares there", 2: "Many small, green triangles"}
    found = scores(said, {picture: [text.lower()] for picture, text in said.items()})
    assert found == {"cider": pytest.approx(10), "bleu4": pytest.approx(1)}


def test_captions_without_a_common_word_score_nothing() -> None:
    found = scores(dict.fromkeys(REFERENCES, "my uncle sings every sunday morning"), REFERENCES)
    assert found["cider"] == 0
    assert found["bleu4"] == pytest.approx(0, abs=1e-6)


def test_the_order_of_words_matters_and_that_of_pictures_does_not() -> None:
    right, turned = scores(FIRST, REFERENCES), scores(FIXTURES["in another order"], REFERENCES)
    assert turned["cider"] < right["cider"] and turned["bleu4"] < right["bleu4"]
    backwards = {picture: REFERENCES[picture] for picture in reversed(REFERENCES)}
    assert scores(FIRST, backwards) == pytest.approx(right)
    assert scores({picture: FIRST[picture] for picture in reversed(FIRST)}, REFERENCES) == pytest.approx(right)


def test_what_everybody_says_counts_for_nothing_in_cider() -> None:
    """A caption is weighed by how few pictures it fits, so that of a single picture CIDEr has nothing to say."""
    found = scores({0: FIRST[0]}, {0: REFERENCES[0]})
    assert found["cider"] == 0 and found["bleu4"] == pytest.approx(1)
