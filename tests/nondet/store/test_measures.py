"""Test that stored measures are those that their folder's name promises."""

import hashlib
import inspect
import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from nondet.analysis.streaming import Measures
from nondet.json_files import format_checksummed, parse_checksummed
from nondet.store.folder import CHECKSUMS, write_folder
from nondet.store.formats import format_arrays
from nondet.store.measures import (
    ARRAYS,
    CKA,
    MATRICES,
    RECORD,
    VECTORS,
    Contents,
    Identity,
    format_measures,
    read_measures,
)
from nondet.store.measures_check import check_all, check_measures

ENVIRONMENT = {"torch_threads": 1, "packages": {"torch": "2"}, "processor": "one"}
PREDICTIONS = {f"run{number}": f"{number}" * 64 for number in range(5)}


def made(runs: tuple[int, ...] = (0, 1, 2), seed: int = 1, **changes) -> Contents:
    """Return measures of these runs; the correlations of the last one are NaN."""
    rng = np.random.default_rng(seed)
    count = len(runs)
    arrays = {name: rng.random(count) for name in VECTORS}
    for name in (*MATRICES, f"{CKA}layer1", f"{CKA}embedding"):
        arrays[name] = rng.random((count, count))
    arrays["correlation"][-1] = arrays["correlation"][:, -1] = np.nan
    identity = Identity(tuple((f"run{i}", f"{i}" * 64) for i in runs), "ab")
    contents = Contents(identity, ENVIRONMENT, arrays, "all at once", ("embedding", "layer1"))
    return replace(contents, **changes)


def put(folder: Path, contents: Contents, files: Mapping[str, bytes] | None = None) -> Path:
    """Write measures, or these files under their name, and return the place."""
    place = folder / contents.key
    write_folder(place, files or format_measures(contents))
    return place


def renew(place: Path, record: Mapping[str, object] | bytes, arrays: bytes | None = None) -> None:
    """Replace the files of a folder and renew all sums, as somebody might who knows the format."""
    if isinstance(record, Mapping):
        if arrays is not None:
            record = {**record, "files": {ARRAYS: hashlib.sha256(arrays).hexdigest()}}
        record = format_checksummed(record)
    files = {RECORD: record, ARRAYS: arrays or (place / ARRAYS).read_bytes()}
    shutil.rmtree(place)
    write_folder(place, files)


def record_of(place: Path) -> dict:
    return parse_checksummed((place / RECORD).read_bytes())


def test_what_is_written_is_read(tmp_path):
    contents = made()
    place = put(tmp_path, contents)
    found = read_measures(place)
    assert found is not None
    assert vars(found) | {"arrays": None} == vars(contents) | {"arrays": None}
    assert found.arrays.keys() == contents.arrays.keys()
    for name, array in contents.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()
    assert check_measures(place, PREDICTIONS) == []
    assert read_measures(tmp_path / "missing") is None


def test_the_names_are_those_of_measures():
    names = {field.name for field in fields(Measures)}
    assert names == {*VECTORS, *MATRICES, "cka", "plan", "notes"}


def test_the_key_is_of_the_runs_the_text_and_what_decides_bits():
    contents = made()
    identity = contents.identity
    others = [
        made((0, 1)),
        made((1, 0, 2)),
        replace(contents, identity=replace(identity, test="cd")),
        replace(contents, identity=replace(identity, runs=(*identity.runs[:2], ("run2", "e")))),
        replace(contents, environment={**ENVIRONMENT, "torch_threads": 2}),
        replace(contents, environment={}),
    ]
    assert len({each.key for each in [contents, *others]}) == 1 + len(others)
    assert replace(contents, environment={**ENVIRONMENT, "processor": "two"}).key == contents.key
    assert made(seed=2).key == contents.key


@pytest.mark.slow
def test_every_flipped_bit_is_noticed(tmp_path):
    place = put(tmp_path, made())
    rng = np.random.default_rng(16)
    paths = sorted(place.iterdir())
    assert [path.name for path in paths] == [CHECKSUMS, RECORD, ARRAYS]
    for number in range(2000):
        path = paths[number % 3]
        data = path.read_bytes()
        flipped = bytearray(data)
        bit = int(rng.integers(8 * len(data)))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        [problem] = check_measures(place, PREDICTIONS)
        assert f"the measures in {place} are damaged: " in problem, (path.name, bit)
        with pytest.raises(ValueError, match=r"."):
            read_measures(place)
        path.write_bytes(data)
    assert check_measures(place, PREDICTIONS) == []


def test_exchanged_folders_are_noticed(tmp_path):
    one, other = put(tmp_path, made((0, 1))), put(tmp_path, made((2, 3)))
    assert check_all(tmp_path, PREDICTIONS) == []
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    assert len(check_all(tmp_path, PREDICTIONS)) == 2
    for place, name in ((one, other.name), (other, one.name)):
        with pytest.raises(ValueError, match=f"describes the measures {name}"):
            read_measures(place)


def test_arrays_of_another_folder_are_noticed_in_spite_of_renewed_sums(tmp_path):
    one, other = put(tmp_path, made((0, 1))), put(tmp_path, made((2, 3)))
    renew(one, record_of(one), (other / ARRAYS).read_bytes())
    with pytest.raises(ValueError, match=f"belong to '{other.name}', not to '{one.name}'"):
        read_measures(one)
    assert len(check_measures(one, PREDICTIONS)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {**ENVIRONMENT, "torch_threads": 2}},
        {"identity": made((0, 1, 3)).identity.to_json()},
        {"identity": {**made().identity.to_json(), "test_tokens": "cd"}},
    ],
)
def test_another_identity_or_environment_is_noticed_in_spite_of_renewed_sums(tmp_path, change):
    place = put(tmp_path, made())
    renew(place, record_of(place) | change)
    with pytest.raises(ValueError, match="describes the measures"):
        read_measures(place)


def deep(levels: int) -> dict:
    made: dict = {}
    for _ in range(levels):
        made = {"a": made}
    return made


RUNS = made().identity.to_json()["runs"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"format": True},
        {"format": None},
        {"identity": []},
        {"identity": {}},
        {"identity": {"runs": RUNS, "test_tokens": None}},
        {"identity": {"runs": RUNS, "test_tokens": "ab", "more": 1}},
        {"identity": {"runs": {}, "test_tokens": "ab"}},
        {"identity": {"runs": RUNS[:1], "test_tokens": "ab"}},
        {"identity": {"runs": [["run0", "0"]] * 2, "test_tokens": "ab"}},
        {"identity": {"runs": [{"run": 1, "predictions": "0"}] * 2, "test_tokens": "ab"}},
        {"identity": {"runs": [{"run": "a\ud800", "predictions": "0"}] * 2, "test_tokens": "ab"}},
        {"environment": []},
        {"environment": None},
        {"environment": deep(900)},
        {"files": []},
        {"files": {}},
        {"files": {ARRAYS: None}},
        {"files": {ARRAYS: "0" * 64, "../other": "0" * 64}},
        {"plan": 1},
        {"plan": "\ud800"},
        {"taps": "embedding"},
        {"taps": [1, 2]},
        {"taps": [["embedding"]]},
        {"taps": ["embedding"]},
        {"taps": ["embedding", "layer1", "layer2"]},
        {"more": 1},
    ],
)
def test_strange_records_are_damaged(tmp_path, change):
    place = put(tmp_path, made())
    renew(place, record_of(place) | change)
    with pytest.raises(ValueError, match=r"."):
        read_measures(place)
    [problem] = check_measures(place, PREDICTIONS)
    assert problem.isprintable()


def test_no_depth_ends_in_a_traceback(tmp_path):
    """An environment that is nested too deeply is damaged, whichever function is the first to reach
    the limit of recursion.
    """
    place = put(tmp_path, made())
    renew(place, record_of(place) | {"environment": deep(90)})
    limit, here = sys.getrecursionlimit(), len(inspect.stack())
    found = []
    for more in range(60, 180):
        sys.setrecursionlimit(here + more)
        try:
            found += check_measures(place, PREDICTIONS)
        finally:
            sys.setrecursionlimit(limit)
    assert len(found) == 120
    assert "nested too deeply" in found[0]
    assert "describes the measures" in found[-1]


@pytest.mark.parametrize("function", ["parse_checksummed", "decisive"])
def test_python_versions_that_parse_deeper_end_in_no_traceback(tmp_path, monkeypatch, function):
    """The C parser of Python 3.12 reads JSON that is nested too deeply for functions in Python."""
    place = put(tmp_path, made())

    def overflow(*_):
        raise RecursionError

    monkeypatch.setattr(f"nondet.store.measures.{function}", overflow)
    assert "nested too deeply" in check_measures(place, PREDICTIONS)[0]


def test_what_is_told_can_be_printed(tmp_path):
    contents = made((0, 1))
    runs = (("run\ud800", "0" * 64), ("run\n1", "1" * 64))
    place = put(tmp_path, replace(contents, identity=Identity(runs, "ab")))
    [problem] = check_measures(place, {})
    assert problem.isprintable()


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"3", b'"\xff"', b"{", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000],
)
def test_what_is_no_record_is_damaged(tmp_path, data):
    place = put(tmp_path, made())
    renew(place, data)
    with pytest.raises(ValueError, match=RECORD):
        read_measures(place)
    assert len(check_measures(place, PREDICTIONS)) == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("disagreement", lambda x: x.astype(np.float32)),
        ("disagreement", lambda x: x[:2]),
        ("disagreement", lambda x: x[0]),
        ("perplexities", lambda x: x[:2]),
        ("perplexities", lambda x: x[:, None]),
        ("disagreement", lambda x: x * np.nan),
        ("accuracies", lambda x: x * np.inf),
        ("cka.layer1", lambda x: x.astype(np.int64)),
        ("cka.layer1", lambda x: None),
        ("correlation", lambda x: None),
        ("more", lambda x: np.zeros(3)),
    ],
)
def test_arrays_of_another_form_are_damaged(tmp_path, name, change):
    contents = made()
    arrays = {**contents.arrays, name: change(contents.arrays.get(name))}
    arrays = {each: array for each, array in arrays.items() if array is not None}
    place = put(tmp_path, replace(contents, arrays=arrays))
    with pytest.raises(ValueError, match=f"{ARRAYS}.*{name}"):
        read_measures(place)
    assert len(check_measures(place, PREDICTIONS)) == 1


@pytest.mark.parametrize("data", [b"", b"x" * 100, (2**40).to_bytes(8, "little") + b"{}"])
def test_what_is_no_array_file_is_damaged(tmp_path, data):
    place = put(tmp_path, made())
    renew(place, record_of(place), data or b" ")
    with pytest.raises(ValueError, match="safetensors"):
        read_measures(place)


@pytest.mark.parametrize("name", [RECORD, ARRAYS, CHECKSUMS])
def test_missing_files_and_folders_in_their_place_are_damaged(tmp_path, name):
    place = put(tmp_path, made())
    (place / name).unlink()
    assert name in check_measures(place, PREDICTIONS)[0]
    (place / name).mkdir()
    assert "one of its files is a folder" in check_measures(place, PREDICTIONS)[0]


def test_a_file_in_place_of_a_folder_is_damaged(tmp_path):
    place = tmp_path / made().key
    place.write_text("")
    assert "damaged" in check_measures(place, PREDICTIONS)[0]


def test_more_files_are_told(tmp_path):
    place = put(tmp_path, made())
    (place / "other").write_text("")
    assert "does not list 'other'" in check_measures(place, PREDICTIONS)[0]


def test_measures_of_runs_that_the_study_does_not_hold_are_told(tmp_path):
    place = put(tmp_path, made((1, 2)))
    [problem] = check_measures(place, {"run1": PREDICTIONS["run1"]})
    assert "of run run2, which is not stored here" in problem
    [problem] = check_measures(place, {**PREDICTIONS, "run1": "e" * 64})
    assert "of other predictions of run run1" in problem
    assert check_measures(place, {**PREDICTIONS, "run1": None}) == []


def test_strange_entries_are_told(tmp_path):
    put(tmp_path, made())
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "0123.scratch").mkdir()
    assert check_all(tmp_path, PREDICTIONS) == []
    (tmp_path / "other").mkdir()
    [problem] = check_all(tmp_path, PREDICTIONS)
    assert str(tmp_path / "other") in problem
    assert check_all(tmp_path / "missing", PREDICTIONS) == []


def test_measures_of_a_former_version_are_no_problem_until_they_are_damaged(tmp_path):
    place = tmp_path / ("0" * 32)
    arrays = format_arrays(dict(made().arrays), "former")
    files = {RECORD: json.dumps({"plan": "all", "taps": []}).encode(), ARRAYS: arrays}
    write_folder(place, files)
    assert check_measures(place, PREDICTIONS) == []
    (place / ARRAYS).write_bytes(arrays[:-1])
    assert len(check_measures(place, PREDICTIONS)) == 1
    (place / RECORD).write_text(json.dumps([]))
    assert len(check_measures(place, PREDICTIONS)) == 1
