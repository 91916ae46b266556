"""Tests of checking the shape of JSON."""

import json
import math
import pickle
import re
import subprocess
import sys
import typing
from typing import Annotated, Any, Literal, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nondet.schemas import Integer, Matching, Natural, Range, SchemaError, Sha256, check, join, show


class Inner(typing.TypedDict):
    number: int
    rate: NotRequired[float]


class Outer(typing.TypedDict, total=False):
    inner: typing.Required[Inner]
    kind: Literal["a", "b"]
    version: Literal[1, 2]
    names: list[str]
    by_name: dict[str, list[Inner]]
    maybe: Inner | None
    either: int | str | Inner
    natural: Natural
    part: Annotated[float, Range(0, 1)]
    flag: bool
    digest: Sha256
    sums: dict[Sha256, int]
    free: Any


FULL = {
    "inner": {"number": 1, "rate": 0.5},
    "kind": "a",
    "version": 1,
    "names": ["x", ""],
    "by_name": {"x y": [{"number": 2}], "": []},
    "maybe": None,
    "either": "text",
    "natural": 0,
    "part": 1,
    "flag": False,
    "digest": "0" * 64,
    "sums": {"a" * 64: -1},
    "free": [{"any": None}],
}


def problem(kind: Any, value: Any, where: str = "") -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        check(kind, value, where)
    return caught.value


def changed(**changes: Any) -> dict[str, Any]:
    return {**FULL, **changes}


@pytest.mark.parametrize(
    "value",
    [
        FULL,
        {"inner": {"number": -(10**30), "rate": 3}},
        changed(maybe={"number": 0}),
        changed(either={"number": 0}),
        changed(either=3),
    ],
)
def test_what_fits_is_returned_as_it_is(value):
    before = json.dumps(value)
    assert check(Outer, value) is value
    assert json.dumps(value) == before


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ([], "", ("object", "a list")),
        (None, "", ("object", "null")),
        ({}, "inner", ("missing", "an object")),
        (changed(inner=[1]), "inner", ("an object", "a list ([1])")),
        (changed(inner={}), "inner.number", ("missing", "an integer")),
        (changed(inner={"number": True}), "inner.number", ("an integer", "true")),
        (changed(inner={"number": 1.0}), "inner.number", ("an integer", "1.0")),
        (changed(inner={"number": "1"}), "inner.number", ("an integer", "a text ('1')")),
        (changed(inner={"number": 1, "rate": False}), "inner.rate", ("number", "false")),
        (changed(inner={"number": 1, "rate": math.nan}), "inner.rate", ("finite", "nan")),
        (changed(inner={"number": 1, "rate": math.inf}), "inner.rate", ("finite", "inf")),
        (changed(inner={"number": 1, "rate": 10**5000}), "inner.rate", ("number", "bits")),
        (changed(inner={"number": 1, "rat": 1}), "inner.rat", ("no such", "number, rate")),
        (changed(kind="c"), "kind", ('"a", "b"', "'c'")),
        (changed(kind=["a"]), "kind", ('"a", "b"', "a list")),
        (changed(version=True), "version", ("1, 2", "true")),
        (changed(version=1.0), "version", ("1, 2", "1.0")),
        (changed(version="1"), "version", ("1, 2", "'1'")),
        (changed(names="init"), "names", ("a list", "a text ('init')")),
        (changed(names=("a",)), "names", ("a list", "tuple")),
        (changed(names=["a", None]), "names[1]", ("a text", "null")),
        (changed(names=["a", "\ud800"]), "names[1]", ("a text", "UTF-8")),
        (changed(by_name=[]), "by_name", ("an object", "a list")),
        (changed(by_name={"x y": {}}), 'by_name["x y"]', ("a list", "an object")),
        (changed(by_name={"a": [{"number": None}]}), "by_name.a[0].number", ("integer", "null")),
        (changed(by_name={"\ud800": []}), "by_name", ("name", "UTF-8")),
        (changed(maybe=3), "maybe", ("an object or null", "3")),
        (changed(maybe={"number": ""}), "maybe.number", ("an integer",)),
        (changed(either=None), "either", ("an integer or a text or an object", "null")),
        (changed(either={"number": []}), "either.number", ("an integer", "a list")),
        (changed(either={"int": 1}), "either.number", ("missing",)),
        (changed(natural=-1), "natural", ("at least 0", "64 bits", "-1")),
        (changed(natural=2**63), "natural", ("64 bits", str(2**63))),
        (changed(natural=10**5000), "natural", ("64 bits", "an integer of")),
        (changed(part=1.5), "part", ("from 0 to 1", "1.5")),
        (changed(flag=0), "flag", ("true or false", "0")),
        (changed(digest="A" * 64), "digest", ("SHA-256", "'AAA")),
        (changed(digest="a" * 64 + "\n"), "digest", ("SHA-256",)),
        (changed(sums={"abc": 1}), "sums", ("'abc'", "SHA-256")),
        (changed(sums={"a" * 64: None}), f"sums.{'a' * 61}", ("integer",)),
        (changed(**{"x\ny": 1}), '["x\\ny"]', ("no such", "inner, kind")),
        (changed(**{"\ud800": 1}), "", ("name", "UTF-8")),
        ({**FULL, 3: 1}, "", ("name",)),
    ],
)
def test_what_does_not_fit_is_named(value, path, words):
    error = problem(Outer, value)
    if not path.startswith("sums."):  # the names of entries are shortened
        assert error.path == path
    start = f"{error.path}: " if error.path else ""
    assert str(error) == start + error.problem
    for word in words:
        assert word in error.problem


def test_errors_begin_with_the_path_of_the_value():
    assert problem(Outer, changed(names=3), "runs[2]").path == "runs[2].names"
    assert problem(list[Inner], [{"number": None}], "a.b").path == "a.b[0].number"
    assert problem(list[int], ["x"] * 100_000).path == "[0]"
    assert problem(list[int], [1, True]).path == "[1]"
    assert problem(list[int], ["x"]).path == "[0]"
    assert problem(Inner, 3, "runs[2]").path == "runs[2]"


def test_other_types_than_objects_are_checked():
    assert check(int | None, None) is None
    assert check(Integer, -(2**63)) == -(2**63)
    assert problem(Integer, -(2**63) - 1).problem.count("64 bits") == 1
    assert problem(Annotated[str, Matching("a+", "letters a")], "b").problem.startswith(
        "must be letters a, not"
    )
    assert "null" in problem(None, 3).problem
    for kind in (set, tuple[int, ...], Annotated[int | None, Range(0)], bytes):
        with pytest.raises(TypeError):
            check(kind, 3)


def test_values_of_any_depth_and_size_are_refused_in_few_words():
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    wide = {f"name {i}": "x" * 1000 for i in range(10_000)}
    for value in (deep, {"a": deep}, [deep] * 1000, wide, "x" * 10**6, 10**10_000, -(10**10_000)):
        for kind in (Outer, list[int], Inner | None):
            if isinstance(value, list) and kind == list[int]:
                continue
            assert len(str(problem(kind, value))) < 700
        assert problem(Outer, changed(names=[[value]])).path == "names[0]"
        assert check(Outer, changed(free=value))
    while deep:  # the interpreter would free it by recursion
        [deep] = deep


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_ends_in_another_error(value):
    assert isinstance(show(value), str)
    for name in FULL:
        paths = []
        for candidate in (changed(**{name: value}), changed(**{name: [value]})):
            try:
                assert check(Outer, candidate) is candidate
            except SchemaError as caught:
                paths.append(caught.path)
        assert all(re.match(rf"{name}($|[.\[])", path) for path in paths)


def test_paths_are_read_like_those_of_javascript():
    assert join("", "rows", 2, "onset", "bit") == "rows[2].onset.bit"
    assert join("rows[2]", "settings", "perturbation.step") == (
        'rows[2].settings["perturbation.step"]'
    )
    assert len(join("", "x" * 1000)) < 100
    assert join("a") == "a"


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(SchemaError("a.b", "is missing")))
    assert (error.path, error.problem, str(error)) == ("a.b", "is missing", "a.b: is missing")


def test_pydantic_is_loaded_by_the_first_check_alone():
    code = (
        "import sys, nondet.schemas\n"
        "assert 'pydantic' not in sys.modules\n"
        "nondet.schemas.check(int, 3)\n"
        "assert 'pydantic' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
