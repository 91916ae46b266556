"""Tests of the header of a stream and of the comparison of two."""

import copy
import json
import os
import random
import sys
import threading
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from factories.seen_calls import Seen, SeenFunctions
from nondet.environment.parts import flatten
from nondet.tracing.header import compare_headers, describe_header

TASKS = Path("/proc/self/task")

INFORMATIVE = {
    "arguments",
    "cores",
    "directory",
    "interop_threads",
    "interpreter",
    "locale",
    "system",
    "timezone",
}
"""Entries that do not decide."""


def names(a, b):
    return [each.name for each in compare_headers(a, b)]


def changed(header, name, value):
    """Return a copy of a header in which one entry has another value."""
    made = copy.deepcopy(header)
    inside = made
    # Names of switches have dots.
    *groups, last = path_of(header, name)
    for group in groups:
        inside = inside[group]
    inside[last] = value
    return made


def path_of(header, name):
    for key, value in header.items():
        if key == name:
            return [key]
        if isinstance(value, dict) and name.startswith(f"{key}."):
            return [key, *path_of(value, name.removeprefix(f"{key}."))]
    return [name]


@pytest.fixture(scope="module")
def header():
    return describe_header()


@pytest.fixture(scope="module")
def with_gpu(header):
    return {**header, "gpus": ["NVIDIA H200"], "gpu_driver": "570.86.10"}


# -- description -------------------------------------------------------------------------------


def test_a_header_is_json_of_bounded_size(header):
    text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) < 50_000
    assert json.loads(text) == header
    assert compare_headers(header, json.loads(text)) == []


def test_a_description_changes_nothing():
    def state():
        return (
            torch.get_rng_state().tolist(),
            str(np.random.get_state()),
            random.getstate(),
            dict(os.environ),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.cuda.is_initialized(),
            {each.ident for each in threading.enumerate()},
        )

    before = state()
    threads = set(map(str, TASKS.glob("*")))
    describe_header()
    assert set(map(str, TASKS.glob("*"))) <= threads
    assert state() == before


def test_a_description_computes_nothing_with_torch():
    with Seen() as operations, SeenFunctions() as functions:
        describe_header()
    assert operations.calls == functions.calls == []


def test_the_seed_is_described_and_not_compared(header):
    with torch.random.fork_rng():
        torch.manual_seed(2**63 + 11)
        found = describe_header()
    assert found["seeds"] == {"torch": 2**63 + 11}
    assert compare_headers(header, changed(header, "seeds.torch", 1)) == []


def test_packages_are_those_that_are_imported(monkeypatch):
    made = types.ModuleType("a_library")
    made.__version__ = "1.2"

    class Lazy(types.ModuleType):
        def __getattr__(self, name):
            raise AssertionError("must not be asked")

    for name, module in (
        ("a_library", made),
        ("a_lazy_one", Lazy("a_lazy_one")),
        ("nothing", None),
        ("a_library.part", made),
        ("_private", made),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    packages = describe_header()["packages"]
    assert packages["a_library"] == "1.2"
    assert packages["torch"] == str(torch.__version__)
    assert packages["numpy"] == np.__version__
    assert not {"a_lazy_one", "nothing", "a_library.part", "_private", "json", "re"} & {*packages}


def test_a_working_directory_that_was_removed(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert describe_header()["directory"] == ""
    monkeypatch.chdir(tmp_path)
    assert describe_header()["directory"] == str(tmp_path.resolve())


def test_arguments_that_are_no_text_or_long(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "caf\udce9", "x" * 10_000, *["y"] * 5000])
    arguments = describe_header()["arguments"]
    assert arguments[1].encode() == rb"caf\udce9"
    assert len(arguments[2]) == len(arguments) == 1000


# -- what is set in a process ------------------------------------------------------------------


@contextmanager
def switched(set_to, get, value):
    before = get()
    set_to(value)
    try:
        yield
    finally:
        set_to(before)


def attribute(owner, name, value):
    return switched(lambda new: setattr(owner, name, new), lambda: getattr(owner, name), value)


@contextmanager
def warned_of():
    # As torch.use_deterministic_algorithms does, which imports the compiler.
    torch._C._set_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch._C._set_deterministic_algorithms(False, warn_only=False)


def flushing():
    return switched(torch.set_flush_denormal, lambda: False, True)


SWITCHES = {
    "threads": lambda: switched(torch.set_num_threads, torch.get_num_threads, 3),
    "settings.torch.get_default_dtype": lambda: switched(
        torch.set_default_dtype, torch.get_default_dtype, torch.float64
    ),
    "settings.torch.autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "settings.torch.flush_denormal": flushing,
    "settings.torch.get_float32_matmul_precision": lambda: switched(
        torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "medium"
    ),
    "settings.torch.backends.mkldnn.enabled": lambda: attribute(
        torch.backends.mkldnn, "enabled", False
    ),
    "settings.torch.are_deterministic_algorithms_enabled": warned_of,
    "settings.torch.is_deterministic_algorithms_warn_only_enabled": warned_of,
    "settings.torch.utils.deterministic.fill_uninitialized_memory": lambda: attribute(
        torch.utils.deterministic, "fill_uninitialized_memory", False
    ),
    "settings.torch.get_default_device": lambda: torch.device("meta"),
    "settings.torch.backends.cuda.flash_sdp_enabled": lambda: switched(
        torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled, False
    ),
    "settings.torch.backends.cuda.math_sdp_enabled": lambda: switched(
        torch.backends.cuda.enable_math_sdp, torch.backends.cuda.math_sdp_enabled, False
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_switched_is_named(name):
    before = describe_header()
    with SWITCHES[name]():
        found = describe_header()
    differences = {each.name: each for each in compare_headers(before, found)}
    assert differences[name].decides
    assert compare_headers(before, describe_header()) == []


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "MKL_CBWR", "OMP_NUM_THREADS", "LD_PRELOAD"])
def test_variables_that_are_set_are_named(name, monkeypatch):
    monkeypatch.delenv(name, raising=False)
    before = describe_header()
    monkeypatch.setenv(name, "8")
    (found,) = compare_headers(before, describe_header())
    assert found == (
        f"environment.{name}",
        None,
        "8",
        True,
        f"The variable `{name}` is not set in a and 8 in b.",
    )


def test_the_first_variable_of_all_is_one_difference(header):
    a, b = {**header, "environment": {}}, {**header, "environment": {"TZ": "UTC"}}
    (found,) = compare_headers(b, a)
    assert found.name == "environment.TZ"
    assert not found.decides


# -- comparison --------------------------------------------------------------------------------


def test_each_entry_that_differs_is_named_alone(with_gpu):
    for name, _ in flatten(with_gpu):
        if name.startswith("seeds."):
            continue
        (found,) = compare_headers(with_gpu, changed(with_gpu, name, "something else"))
        assert found.name == name
        group = name.partition(".")[0]
        if group not in ("environment", "packages"):
            assert found.decides == (name not in INFORMATIVE), name
        assert found.b == "something else"
        assert found.sentence.endswith(" and something else in b.")
        assert found.sentence[0].isupper() or found.sentence[0] == "`"
        assert "is not recorded" not in found.sentence
        # What one lacks is a difference that decides nothing, variables aside.
        without = copy.deepcopy(with_gpu)
        *groups, last = path_of(with_gpu, name)
        inside = without
        for each in groups:
            inside = inside[each]
        del inside[last]
        missing = compare_headers(with_gpu, without)
        assert [each.name for each in missing] == [name]
        assert not any(each.decides for each in missing if group != "environment")


def test_an_entry_has_words_of_its_own(with_gpu):
    for name, _ in flatten(with_gpu):
        if not name.startswith("seeds."):
            (found,) = compare_headers(with_gpu, changed(with_gpu, name, 1.5))
            assert not found.sentence.startswith("The entry"), name


def test_the_most_decisive_come_first(with_gpu):
    other = copy.deepcopy(with_gpu)
    other["directory"] = "/elsewhere"
    other["threads"] += 1
    other["packages"]["torch"] = "1.0"
    other["packages"]["something"] = "1.0"
    other["python"] = "3.0"
    other["settings"]["torch"]["backends.mkldnn.enabled"] = "?"
    other["settings"]["torch"]["autocast"] = "?"
    other["environment"]["PYTHONHASHSEED"] = "17"
    other["environment"]["A_NUM_THREADS"] = "17"
    other["gpus"] = []
    expected = [
        "threads",
        "settings.torch.autocast",
        "settings.torch.backends.mkldnn.enabled",
        "environment.PYTHONHASHSEED",
        "environment.A_NUM_THREADS",
        "packages.torch",
        "gpus",
        "python",
        "packages.something",
        "directory",
    ]
    assert names(with_gpu, other) == names(other, with_gpu) == expected
    decides = [each.decides for each in compare_headers(with_gpu, other)]
    assert decides == [True] * 8 + [False] * 2


def test_libraries_of_gpus_decide_where_there_is_one(header, with_gpu):
    changes = {
        "settings.cuda.torch.backends.cudnn.benchmark": True,
        "environment.CUBLAS_WORKSPACE_CONFIG": ":7:8",  # none that nondet sets
        "cuda": "12.0",
        "gpu_driver": "1",
    }
    header = {**header, "gpus": []}
    header["settings"] = {**header["settings"], "cuda": with_gpu["settings"].get("cuda", {})}
    for side, decides in ((header, False), (with_gpu, True), ({**header, "gpus": None}, True)):
        other = copy.deepcopy(side)
        other["settings"].setdefault("cuda", {}).setdefault("torch", {})
        side = copy.deepcopy(other)
        for name, value in changes.items():
            other = changed(other, name, value)
        found = compare_headers(side, other)
        assert {each.name for each in found} == changes.keys()
        assert {each.decides for each in found} == {decides}


def test_headers_that_lack_groups(header):
    without = {name: value for name, value in header.items() if name != "settings"}
    (found,) = compare_headers(header, without)
    assert (found.name, found.a, found.b, found.decides) == ("settings", "recorded", None, False)
    (found,) = compare_headers({**header, "settings": 3}, header)
    assert (found.name, found.a, found.b) == ("settings", 3, "recorded")
    (found,) = compare_headers({}, header)
    assert found.sentence == "The environment of a is not recorded."
    (found,) = compare_headers(header, {})
    assert found.sentence == "The environment of b is not recorded."
    assert compare_headers({}, {}) == []


def test_long_values_are_shown_where_they_differ(header):
    long = ["--option", "x" * 300, "--seed", "1"]
    other = [*long[:3], "2"]
    (found,) = compare_headers({**header, "arguments": long}, {**header, "arguments": other})
    assert '"--seed", "1"]' in found.sentence
    assert '"--seed", "2"]' in found.sentence
    assert len(found.sentence) < 300
    assert all(len(each) < 150 for each in (found.a, found.b))
    (found,) = compare_headers({**header, "system": "a" * 10**6}, {**header, "system": "b" * 10**6})
    assert len(found.sentence) < 400
    (found,) = compare_headers({**header, "system": "a\nb"}, {**header, "system": "a\x1b[31m"})
    assert found.sentence.isprintable()


def test_very_many_differences_are_counted(header):
    entries = {f"entry {i}": i for i in range(1000)}
    found = compare_headers(header, {**header, **entries, "threads": 77})
    assert found[0].name == "threads"
    assert len(found) == 201
    assert found[-1].sentence == "801 more entries of the environment differ."
    assert not found[-1].decides


@pytest.mark.parametrize("other", [None, 3, "text", [1], ["threads"], True])
def test_what_is_no_header_is_refused(header, other):
    with pytest.raises(ValueError, match="the header of a must be a mapping"):
        compare_headers(other, header)
    with pytest.raises(ValueError, match="the header of b must be a mapping"):
        compare_headers(header, other)


def damaged(value, chance):
    """Return a JSON value with something replaced, removed or added."""
    strange = [
        None,
        True,
        0,
        -1,
        1e308,
        10**30,
        float("nan"),
        "",
        "\ud800{}",
        [],
        [[]],
        {},
        {"": 1},
    ]
    if isinstance(value, dict) and value and chance.random() < 0.9:
        made = dict(value)
        key = chance.choice([*made])
        action = chance.random()
        if action < 0.2:
            del made[key]
        elif action < 0.3:
            made[chance.choice(["", ".", "x.y", "*", "{0}", "\n", "threads."])] = made[key]
        else:
            made[key] = damaged(made[key], chance)
        return made
    return chance.choice(strange)


def compared(header):
    return json.dumps({**header, "seeds": None}, sort_keys=True)


def test_damaged_headers_raise_nothing(header):
    chance = random.Random(5)
    for _ in range(400):
        other = header
        for _ in range(chance.randrange(1, 6)):
            other = damaged(other, chance)
            if not isinstance(other, dict):
                other = {"threads": other}
        for a, b in ((header, other), (other, header)):
            found = compare_headers(a, b)
            assert all(each.sentence.isprintable() for each in found)
            assert all(len(each.sentence) < 1000 for each in found)
            json.dumps([tuple(each) for each in found], allow_nan=False)
            assert found or compared(other) == compared(header)


def test_true_is_not_one_and_nan_is_nan(header):
    assert names({**header, "x": True}, {**header, "x": 1}) == ["x"]
    assert names({**header, "x": float("nan")}, {**header, "x": float("nan")}) == []
