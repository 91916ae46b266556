"""Files that somebody else wrote, with all checksums right, give clear errors and no tracebacks."""

import hashlib
import json
import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from factories.forging import edit_arrays, edit_json
from factories.json_nodes import STRANGE, at, nodes
from factories.studies import language_study, made_study, unfinished_study
from nondet.analysis.summary import summarize
from nondet.report.build import build
from nondet.store import Store, StoreError, verify

MAKERS = {
    "made": made_study,
    "language": lambda folder: language_study(folder, folder.parent / "text"),
    "unfinished": unfinished_study,
}
VALUES = [value for value in STRANGE if value != 10**5000 and value != "\ud800"]


@pytest.fixture(scope="module", params=MAKERS)
def study(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param) / "study").root


def read(study: Path) -> None:
    """Report a study; only errors that name the reason may come."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = Store(study)
        with suppress(StoreError):
            build(summarize(store.plan(), store))


def json_files(study: Path) -> list[Path]:
    """Return a JSON file of every folder and kind, and a second one where there are several."""
    kinds: dict[tuple[str, ...], list[Path]] = {}
    for path in sorted(study.rglob("*.json")):
        parts = path.relative_to(study).parts
        kinds.setdefault((parts[0], path.name.partition("-")[0], str(len(parts))), []).append(path)
    return [path for paths in kinds.values() for path in paths[:2]]


def check_strange_json(study: Path, count: int, seed: int) -> None:
    """Replace single nodes by strange values, and renew the checksums."""
    generator, files = np.random.default_rng(seed), json_files(study)
    for number in range(count):
        path = files[number % len(files)]
        saved = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
        places = [steps for steps in nodes(json.loads(path.read_bytes())) if steps]
        steps = places[generator.integers(len(places))]
        value = VALUES[generator.integers(len(VALUES))]

        def edit(record, steps=steps, value=value):
            if steps[0] in record:
                at(record, steps[:-1])[steps[-1]] = value

        edit_json(path, edit)
        try:
            for problem in verify(study).problems:
                assert problem
            read(study)
        except BaseException as error:
            error.add_note(f"{path.relative_to(study)}: {steps} = {str(value)[:60]}")
            raise
        finally:
            for each, data in saved.items():
                each.write_bytes(data)


def test_strange_json_is_named(study):
    check_strange_json(study, 24, seed=1)


@pytest.mark.slow
def test_much_strange_json_is_named(study):
    check_strange_json(study, 1000, seed=2)


RAW = {
    "list": b"[]\n",
    "text": b'"run"\n',
    "digits": b'{"format": ' + b"1" * 5000 + b"}\n",
    "nesting": b"[" * 100_000 + b"]" * 100_000,
    "nested": b'{"format": 3, "job": ' + b'{"a": ' * 50_000 + b"1" + b"}" * 50_001,
    "not a number": b'{"format": NaN}\n',
    "infinite": b'{"format": 1e999}\n',
    "bytes": b"\xff\xfe\x00",
    "empty": b"",
    "twice": b'{"format": 3, "format": 2}\n',
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_raw_bytes_are_named(study, raw):
    for path in json_files(study):
        saved = {each: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
        path.write_bytes(raw)
        sums = path.parent / "SHA256SUMS"
        if sums.exists():
            names = [line.split("  ")[1] for line in sums.read_text().splitlines()]
            digests = [hashlib.sha256((path.parent / name).read_bytes()) for name in names]
            lines = zip(digests, names, strict=True)
            sums.write_text("".join(f"{sha.hexdigest()}  {name}\n" for sha, name in lines))
        try:
            problems = verify(study).problems
            assert any(path.parent.name in each or path.name in each for each in problems)
            assert max(map(len, problems)) < 2000
            read(study)
        finally:
            for each, data in saved.items():
                each.write_bytes(data)


def set_nan(arrays):
    for array in arrays.values():
        if array.dtype.kind == "f":
            array.reshape(-1)[0] = np.nan


def remove(arrays):
    arrays.pop(sorted(arrays)[0])


def reshape(arrays):
    for name in arrays:
        arrays[name] = arrays[name].reshape(-1, 1, 1)


def truncate(arrays):
    for name in arrays:
        arrays[name] = arrays[name][:-1].copy()


def widen(arrays):
    for name in arrays:
        arrays[name] = arrays[name].astype(np.float64) + 1


def add(arrays):
    arrays["more"] = np.zeros(1)


def clear(arrays):
    arrays.clear()


def negate(arrays):
    for name in arrays:
        arrays[name] = -arrays[name] - 1


# What a file cannot show to be wrong by itself: other numbers of the same form.
VALID = {
    "tta": {remove, negate},
    "taps": {set_nan, truncate, negate},
    "twin": {set_nan, negate},
    "labels": {set_nan},
    "weights": {set_nan, truncate, add, negate, remove, reshape, widen},
}


@pytest.mark.parametrize("edit", [set_nan, remove, reshape, truncate, widen, add, clear, negate])
@pytest.mark.parametrize("name", ["predictions", "tta", "taps", "twin", "labels", "weights"])
def test_strange_arrays_are_named(study, tmp_path, name, edit):
    paths = sorted(study.rglob(f"{name}.safetensors"))
    if not paths:
        pytest.skip(f"the study has no {name}")
    copy = shutil.copytree(study, tmp_path / "copy")
    edit_arrays(copy / paths[0].relative_to(study), edit)
    problems = verify(copy).problems
    assert problems or edit in VALID.get(name, ())
    read(copy)


def test_another_runs_predictions_are_noticed(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    paths = sorted((copy / "runs").glob("*/predictions.safetensors"))
    if len(paths) < 2:
        pytest.skip("the study has one run")
    shutil.copyfile(paths[1], paths[0])
    edit_json(paths[0].parent / "run.json", lambda record: None)
    assert any(paths[0].parent.name in problem for problem in verify(copy).problems)
    read(copy)


@pytest.mark.parametrize(
    "folder", ["runs", "records", "labels", "checkpoints", "prefixes", "measures"]
)
def test_exchanged_folders_are_noticed(study, tmp_path, folder):
    places = sorted((study / folder).iterdir()) if (study / folder).is_dir() else []
    if len(places) < 2:
        pytest.skip(f"the study has fewer than two {folder}")
    copy = shutil.copytree(study, tmp_path / "copy")
    one, other = (copy / folder / place.name for place in places[:2])
    one.rename(copy / "aside")
    other.rename(one)
    (copy / "aside").rename(other)
    assert verify(copy).problems
    read(copy)
