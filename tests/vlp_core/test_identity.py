"""Names that last: equal for equal values, in every process."""

import subprocess
import sys

import pytest

from vlp_core.identity import canonical_json, digest_of, generator, key_of, uid_of


def test_a_uid_is_128_bits_of_the_url_and_nothing_else() -> None:
    assert len(uid_of("http://a.test/1.jpg")) == 32
    assert uid_of("http://a.test/1.jpg") != uid_of("http://a.test/1.jpg?")


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": [1, 2], "a": "é"}) == canonical_json({"a": "é", "b": [1, 2]}) == '{"a":"é","b":[1,2]}'
    assert digest_of([1, 2]) != digest_of([2, 1])


def test_what_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_keys_do_not_run_into_one_another_and_are_the_same_in_every_process() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    program = "from vlp_core.identity import generator; print(generator(7, 'x').integers(1 << 62))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(other) == int(generator(7, "x").integers(1 << 62))
