"""Reading JSON that anybody may have written, and JSON with a checksum."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.json_files import (
    CHECKSUM,
    DEEPEST,
    format_checksummed,
    kind_of,
    parse_checksummed,
    parse_json,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False).filter(lambda x: abs(x) != float("inf"))
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
RECORDS = st.dictionaries(st.text().filter(lambda name: name != CHECKSUM), VALUES, max_size=4)
RECORD = {"format": 3, "lr": 1e-05, "name": "é\n", "list": [True, None, -0.0], "in": {"a": {}}}


def nested(depth, kind):
    value = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return json.dumps({"a": value}).encode()


@given(RECORDS)
def test_a_record_is_read_back(record):
    data = format_checksummed(record)
    found = parse_checksummed(data)
    assert json.dumps(found) == json.dumps(record)  # also the order, and -0.0
    assert parse_json(data).keys() == {CHECKSUM, *record}


def test_the_checksum_is_that_of_the_other_entries():
    data = format_checksummed(RECORD)
    rest = (json.dumps(RECORD, indent=2) + "\n").encode()
    assert json.loads(data)[CHECKSUM] == hashlib.sha256(rest).hexdigest()
    assert list(json.loads(data)) == [CHECKSUM, *RECORD]


def test_every_changed_bit_is_noticed():
    data = format_checksummed(RECORD)
    for place in range(len(data)):
        for bit in range(8):
            changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            with pytest.raises(ValueError, match=r"\S"):
                parse_checksummed(changed)


@pytest.mark.parametrize("cut", [0, 1, 10, -1, -2])
def test_every_cut_is_noticed(cut):
    with pytest.raises(ValueError, match=r"\S"):
        parse_checksummed(format_checksummed(RECORD)[:cut])


def test_what_means_the_same_but_is_written_otherwise_is_noticed():
    data = format_checksummed(RECORD)
    for mine, theirs in ((b"1e-05", b"1E-05"), (b"\n", b" \n"), (b"\\u00e9", b"\\u00E9")):
        assert mine in data
        with pytest.raises(ValueError, match="does not match its SHA-256"):
            parse_checksummed(data.replace(mine, theirs, 1))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "beyond float64"),
        (b"1" * 5000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (nested(DEEPEST, "list"), "nested too deeply"),
        (nested(DEEPEST, "object"), "nested too deeply"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_json_is_told(data, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        parse_json(data)
    assert len(str(caught.value)) < 300


def test_the_deepest_values_are_read():
    for kind in ("list", "object"):
        assert "a" in parse_json(nested(DEEPEST - 1, kind))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"[]", "a list"),
        (b'"text"', "a text"),
        (b"null", "null"),
        (b"7", "a number"),
        (b"{}", "has no entry 'sha256'"),
        (b'{"sha256": null}', "does not match"),
        (b'{"sha256": "00", "sha256": "00"}', "does not match"),
    ],
)
def test_what_has_no_checksum_is_told(data, problem):
    with pytest.raises(ValueError, match=problem):
        parse_checksummed(data)


def test_records_that_cannot_be_written_are_refused():
    with pytest.raises(ValueError, match="an entry 'sha256' already"):
        format_checksummed({CHECKSUM: 1})
    with pytest.raises(ValueError, match="JSON"):
        format_checksummed({"loss": float("nan")})


def test_kinds_have_names():
    values = [None, True, {}, [], "", 1, 1.5]
    names = ["null", "true", "an object", "a list", "a text", "a number", "a number"]
    assert [kind_of(value) for value in values] == names
