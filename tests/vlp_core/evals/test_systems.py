"""Systems are scored for what they have parts for; a fusion ranks what its dual encoder brings."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.vlp_core.evals.builders import classes_file, images_folder, rows, system_folder
from vlp_core.capfilt import match_probability
from vlp_core.comparison import Trained, rankings, table
from vlp_core.data.tokens import WORDPIECE_FILE, train_word_pieces
from vlp_core.errors import UserError
from vlp_core.evals import captions, costs, judging, ranking, retrieval
from vlp_core.evals.evaluators import Suite
from vlp_core.evals.names import names_of
from vlp_core.evals.reader import Reader
from vlp_core.evals.retrieval import Scores
from vlp_core.evals.settings import Evaluate
from vlp_core.evals.systems import parts_of, score_system
from vlp_core.load import is_system, load_system
from vlp_core.model_folder import read_weights
from vlp_core.recipes.catalogue import RECIPES
from vlp_core.sizes import outline
from vlp_core.view import RandomPlaces


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    folder = tmp_path_factory.mktemp("sets")
    classes = classes_file(folder / "classes.json")
    pictures = images_folder(folder / "pictures", [rows(14)], labelled=True)
    return Suite.read(retrieval=pictures, zero_shot=pictures, classes=classes)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    folder = tmp_path_factory.mktemp("pieces")
    assert suite.retrieval is not None
    train_word_pieces(suite.retrieval.texts, 120).save(str(folder / WORDPIECE_FILE))
    return folder


def reader_of(
    name: str, pieces: Path, out: Path, *, batch_size: int = 5, precision: Literal["fp32", "bf16"] = "fp32"
) -> Reader:
    torch.set_num_threads(1)
    system, tokenizer, config = load_system(out if out.exists() else system_folder(name, pieces, out))
    settings = Evaluate(batch_size=batch_size, threads=1, device="cpu", precision=precision)
    return Reader.of(system, tokenizer, config["preprocess"], settings, name=name)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("albef", {"retrieval", "retrieval_dual", "zero_shot", "matching", "masked_words"}),
        ("vilt", {"retrieval_first", "matching", "masked_words"}),
        ("virtex", {"captions"}),
    ],
)
def test_a_system_is_scored_for_what_it_has_parts_for(
    name: str, kinds: set[str], suite: Suite, pieces: Path, tmp_path: Path
) -> None:
    reader = reader_of(name, pieces, tmp_path / "model")
    scores = score_system(reader, suite)
    assert {key.partition("/")[0] for key in scores} == kinds
    parts = parts_of(outline(RECIPES[name].TINY.system))
    told = [key for key in scores if not key.endswith("_chance") and not re.fullmatch("zero_shot/.+/.+|.*top5", key)]
    assert sorted(told) == sorted(set(names_of(parts, retrieval=True, zero_shot=True)) - {"zero_shot/top5"})
    assert all(value >= 0 for value in scores.values())
    # a batch of eleven leaves one picture over: a score does not depend on how many are computed at once
    larger = reader_of(name, pieces, tmp_path / "model", batch_size=11)
    assert suite.retrieval is not None and [len(batch) for batch in larger.pairs(suite.retrieval)] == [11, 1]
    assert score_system(larger, suite, draw=tmp_path) == pytest.approx(scores, abs=1e-6)
    assert (tmp_path / "queries.png").exists() is any(key.startswith("retrieval") for key in scores)
    assert all(key.endswith("_chance") or f"{key}_chance" in scores for key in scores if "captions" not in key)


def test_the_best_candidates_by_the_fusion_are_those_of_the_full_matrix(
    suite: Suite, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more texts are asked about than are held at once."""
    data, reader = suite.retrieval, reader_of("albef", pieces, tmp_path / "model")
    assert data is not None
    encoder = reader.encoder()
    images, texts = encoder.images(data.pictures), encoder.texts(data.texts)
    near, whole = texts @ images.T, ranking.full_matrix(reader, data)
    monkeypatch.setattr(judging, "HELD", 7)

    def ranked(candidates: int) -> torch.Tensor:
        scores = ranking.rank_again(reader, data, images, texts, candidates)
        torch.testing.assert_close(scores.of_texts(2, 6), scores.of_images(0, len(images)).T[2:6])
        return scores.of_texts(0, len(texts))

    torch.testing.assert_close(ranked(10_000), whole, atol=1e-5, rtol=1e-5)
    some = ranked(3)
    chosen = torch.isclose(some, whole, atol=1e-5)
    assert chosen.sum(dim=1).min() >= 3 and chosen.sum(dim=0).min() >= 3 and not chosen.all()
    torch.testing.assert_close(some[~chosen], near[~chosen] + whole[chosen].min() - 3, atol=1e-5, rtol=1e-5)


def test_candidates_and_every_pair_give_one_ranking_where_all_are_candidates(
    suite: Suite, pieces: Path, tmp_path: Path
) -> None:
    data, reader = suite.retrieval, reader_of("albef", pieces, tmp_path / "model")
    assert data is not None
    some, whole = costs.two_rankings(reader, data, reader.encoder())
    assert len(data.pictures) <= reader.settings.candidates and some.recall_at_1 == whole.recall_at_1


@pytest.mark.parametrize("name", ["albef", "pixelbert", "virtex"])
def test_a_cost_counts_the_parameters_of_a_finished_model(
    name: str, suite: Suite, pieces: Path, tmp_path: Path
) -> None:
    """And not what batch norm keeps beside them."""
    assert suite.retrieval is not None
    reader = reader_of(name, pieces, tmp_path / "model")
    cost = costs.cost_of(reader.system, next(reader.pairs(suite.retrieval)), repeats=1)
    weights = read_weights(tmp_path / "model")
    kept = [key for key in weights if key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")]
    assert bool(kept) == (name != "albef")
    assert cost.parameters == sum(value.numel() for key, value in weights.items() if key not in kept)
    with_twins = RECIPES[name].TINY.system.build(reader.tokenizer.vocabulary)
    assert costs.parameter_count(with_twins) == cost.parameters
    assert cost.embedding_ms > 0 and cost.rest_ms > 0


def test_the_tables_have_a_row_a_system_that_belongs_there(pieces: Path, tmp_path: Path) -> None:
    pictures = images_folder(tmp_path / "pictures", [rows(14)])
    scores = {"matching/accuracy": 0.9} | {f"retrieval/text_to_image_r@{k}": k / 10 for k in (1, 5, 10)}
    systems = {
        name: Trained(
            name=name,
            model=system_folder(name, pieces, tmp_path / name),
            retrieval=pictures,
            evaluate=Evaluate(batch_size=1, threads=1),
            scores=scores if name == "albef" else {"captions/cider": 1.0},
            before={"matching/accuracy": 0.5, "captions/cider": 0.0},
            seconds=7.0,
        )
        for name in ("albef", "virtex")
    }
    heads, _, matches, writes = [line.split(" | ") for line in table(list(systems.values())).splitlines()]
    assert len(heads) == len(matches) == len(writes)
    assert matches[3:7] == ["matching/accuracy", "0.500", "0.900", "10.0 / 50.0 / 100.0"]
    assert writes[3:7] == ["captions/cider", "0.000", "1.000", "–"]
    variant = replace(systems["virtex"], name="a setting of virtex's")
    others = [
        line.split(" | ")[heads.index("lines added")] for line in table([systems["virtex"], variant]).splitlines()
    ]
    assert others[2:] == [writes[heads.index("lines added")], "0"], "whoever else is in the table"
    (row,) = rankings(systems.values(), tmp_path).splitlines()[2:]
    assert row.startswith("| albef |")


def test_scores_rank_as_vectors_do(suite: Suite) -> None:
    data = suite.retrieval
    assert data is not None
    draw = torch.Generator().manual_seed(0)
    images, texts = (
        torch.nn.functional.normalize(torch.randn(count, 8, generator=draw), dim=1)
        for count in (len(data.pictures), len(data.texts))
    )
    expected = dict(retrieval.recalls(images, texts, data.pairs))
    assert dict(retrieval.recalls_by(Scores.of(texts @ images.T), data.pairs)) == pytest.approx(expected)


def test_the_first_pictures_keep_their_texts(suite: Suite) -> None:
    data = suite.retrieval
    assert data is not None
    few = ranking.first_pictures(data, 5)
    assert len(few.pictures) == 5 and few.identities == data.identities[:5]
    told = {(few.texts[text], few.identities[picture]) for text, picture in few.pairs.tolist()}
    assert told == {
        (data.texts[text], data.identities[picture]) for text, picture in data.pairs.tolist() if picture < 5
    }


def test_captions_are_scored_by_cider_and_bleu() -> None:
    """A caption that is a reference scores highest, one without a common word nothing."""
    references = {
        0: ["A red circle on a wall.", "there is a red circle"],
        1: ["two blue squares", "A pair of squares, both blue"],
        2: ["a small green triangle below a star", "green triangle under a star"],
    }
    right = captions.scores({number: texts[0] for number, texts in references.items()}, references)
    partly = captions.scores({0: "a red square on a wall", 1: "blue squares", 2: "a green triangle"}, references)
    wrong = captions.scores({0: "nothing", 1: "at", 2: "all"}, references)
    assert right["bleu4"] == pytest.approx(1.0, abs=1e-3) and right["cider"] > partly["cider"] > wrong["cider"]
    assert wrong["cider"] == 0 and wrong["bleu4"] < 1e-3


def test_a_folder_says_what_it_is(pieces: Path, tmp_path: Path) -> None:
    folder = system_folder("vilt", pieces, tmp_path / "model")
    assert is_system(folder)
    config = json.loads((folder / "config.json").read_text())
    for wrong, near in (({"name": "vlit"}, "vilt"), ({"trunks": [32, 1, 2]}, "trunk")):
        (folder / "config.json").write_text(json.dumps(config | {"recipe": config["recipe"] | wrong}))
        with pytest.raises(UserError, match=f"did you mean '{near}'"):
            load_system(folder)


def test_all_are_asked_for_the_same_whole_words_of_a_picture_that_is_seen_whole(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they were trained: ALBEF hides pieces of words, VLC places of the picture."""
    data = suite.retrieval
    assert data is not None
    train_word_pieces(data.texts, 40).save(str(tmp_path / WORDPIECE_FILE))  # so few that words are cut
    monkeypatch.delattr(RandomPlaces, "keep")
    names = ("albef", "vilt", "vlc")
    told = [dict(judging.masked_words(reader_of(name, tmp_path, tmp_path / name), data)) for name in names]
    # what always saying the commonest is worth depends on what is asked alone
    assert told[0]["masked_words/accuracy_chance"] == pytest.approx(told[1]["masked_words/accuracy_chance"])
    assert told[1]["masked_words/accuracy_chance"] == pytest.approx(told[2]["masked_words/accuracy_chance"])


@pytest.mark.parametrize(("name", "learnt_at"), [("albef", 1 / 2), ("vilt", 1.0)])
def test_odds_are_those_among_pairs_of_which_half_match(
    name: str, learnt_at: float, suite: Suite, pieces: Path, tmp_path: Path
) -> None:
    """Whatever share of matches it was trained with: ALBEF has two hard negatives for each."""
    data, reader = suite.retrieval, reader_of(name, pieces, tmp_path / "model")
    assert data is not None
    pixels = reader.pixels(data.pictures[number] for number in (0, 1))
    chance = match_probability(reader.system, pixels, reader.tokenizer(data.texts[:3]), torch.tensor([0, 1, 1]))
    odds = judging.Judge(reader, data).match(torch.tensor([[0, 0], [1, 1], [2, 1]]))
    torch.testing.assert_close(odds, chance.logit() - math.log(learnt_at), atol=1e-4, rtol=0)


def test_in_bf16_vectors_and_odds_differ_by_its_rounding_and_no_odds_by_its_steps(
    suite: Suite, pieces: Path, tmp_path: Path
) -> None:
    data = suite.retrieval
    assert data is not None
    exact, fast = (reader_of("albef", pieces, tmp_path / "model", precision=kind) for kind in ("fp32", "bf16"))
    pairs = torch.cartesian_prod(torch.arange(len(data.texts)), torch.arange(len(data.pictures)))
    for one, other in (
        (exact.encoder().images(data.pictures), fast.encoder().images(data.pictures)),
        (exact.encoder().texts(data.texts), fast.encoder().texts(data.texts)),
        (judging.Judge(exact, data).match(pairs), odds := judging.Judge(fast, data).match(pairs)),
    ):
        assert 0 < (one - other).abs().max() < 0.05
    assert len(odds.unique()) == len(odds), "equal odds would count against the system"
    masked = [dict(judging.masked_words(reader, data)) for reader in (exact, fast)]
    assert masked[0] == pytest.approx(masked[1], abs=0.2)


@pytest.mark.parametrize("size", [2, 12])
def test_half_of_the_pictures_are_strangers_to_the_texts_they_are_asked_of(suite: Suite, size: int) -> None:
    assert suite.retrieval is not None
    data = ranking.first_pictures(suite.retrieval, size)
    pairs, together = judging.fair_pairs(data)
    assert pairs[:, 0].tolist() == data.first_texts
    belong = {tuple(pair) for pair in data.pairs.tolist()}
    assert [tuple(pair) in belong for pair in pairs.tolist()] == together.tolist()
    assert 2 * int(together.sum()) == size
