import pytest

from vlp_core.web.optout import opted_out, reserved


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        (["all"], None),
        (["noai"], "noai"),
        (["NoAI"], "noai"),
        (["noimageai"], "noimageai"),
        (["noindex"], "noindex"),
        (["none"], "none"),
        (["nofollow, noarchive"], None),
        (["nofollow", "noai"], "noai"),
        (["nofollow, noindex"], "noindex"),
        (["noindex,noai"], "noai"),
        (["noindex; nofollow"], "noindex"),
        (["noindex, max-image-preview:large"], "noindex"),
        (["max-image-preview:large, noindex"], "noindex"),
        (["max-image-preview: none"], None),
        (["noai, unavailable_after: Wed, 25 Jun 2030 15:00:00 PST"], "noai"),
        (["unavailable_after: Wed, 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["unavailable_after: 2030-06-25T15:00:00Z"], None),
        (["otherbot: noindex"], None),
        (["otherbot: nofollow, noindex"], None),
        (["otherbot: noindex, vlp: nofollow"], None),
        (["vlp: noindex"], "noindex"),
        (["VLP : noindex"], "noindex"),
        (["vlp/1.0: noindex"], "noindex"),
        (["*: noindex"], "noindex"),
        (["vlp: nofollow, noindex"], "noindex"),
        (["otherbot: noai, vlp: noindex"], "noindex"),
        (["noindex, otherbot: nofollow"], "noindex"),
        (["otherbot: noindex", "noai"], "noai"),
        (["max-audio-preview: 3, noai"], "noai"),
        (["max-audio-preview: none, noindex"], "noindex"),
        (["ai-training: disallow, noai"], "noai"),
        (["ai-training: disallow; noai"], "noai"),
        (["noai, ai-training: disallow"], "noai"),
        (["ai-training: disallow"], None),
        (["otherbot: nofollow, ai-training: disallow, noai"], None),
        (["otherbot: max-snippet: 3, noai"], None),
        (["otherbot: unavailable_after: Wed, 25 Jun 2030 15:00:00 PST, noai"], None),
        (["vlp: ai-training: disallow, noai"], "noai"),
        (["otherbot: noindex, vlp: whatever, noai"], "noai"),
        (["noindexing"], None),
        ([""], None),
    ],
)
def test_an_opt_out_is_read_where_it_is_meant_for_us(headers: list[str], found: str | None) -> None:
    assert opted_out(headers, "VLP") == found


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], False),
        (["1"], True),
        ([" 1 "], True),
        (["0"], False),
        (["0", "1"], True),
        (["0, 1"], True),
        (["10"], False),
    ],
)
def test_a_reservation_of_mining_is_a_one_in_any_header(headers: list[str], found: bool) -> None:
    assert reserved(headers) is found
