import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlp_core.web.dates import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:01:40 GMT", 100),
        ("01 Jan 1970 00:01:40 GMT", 100),
        ("thu, 01 jan 1970 01:01:40 +0100", 100),
        ("Wed, 31 Dec 1969 16:01:40 PST", 100),
        ("Thursday, 01-Jan-70 00:01:40 GMT", 100),
        ("Thu Jan  1 00:01:40 1970", 100),
        ("1970-01-01T00:01:40Z", 100),
        ("1970-01-01t00:01:40z", 100),
        ("1970-01-01T01:01:40+01:00", 100),
        ("1970-01-01 00:01:40", 100),
        (" 1970-01-02 ", 86400),
        ("32 Jan 1970 00:00:00 GMT", None),
        ("01 Jan 99999 00:00:00 GMT", None),
        ("01 Jan 1970 00:00:00 +9999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_date_is_read_in_every_form_and_is_in_utc_where_it_names_no_zone(
    text: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = seconds_of(text)
    time.tzset()
    assert found == seconds


@given(st.text("0123456789 :,-+tzgmjanthu", max_size=40))
def test_what_is_no_date_is_none(text: str) -> None:
    assert isinstance(seconds_of(text), float | None)
