"""Test that nothing damaged, exchanged or strange in a scratch folder changes a measure, and that
all of it is told.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from factories.sources import Models, same
from nondet.analysis.streaming import Measures, measure
from nondet.analysis.streaming.spearman import DiskPlan, parse_plan
from nondet.store.measures import Identity
from nondet.store.measures_check import check_scratch
from nondet.store.scratch import read_record, write_record
from nondet_ext._spearman_files.shares import Shares

MODELS = Models(3, 90, 5, seed=1, widths=(3,))
RUNS = tuple((f"run{number}", f"{number}" * 64) for number in range(3))


def compute(scratch: Path, environment=None, **options) -> Measures:
    """Compute measures in three tiles of two models."""
    return measure(
        MODELS.sources((40,)),
        MODELS.labels,
        MODELS.log_probabilities,
        MODELS.predicted,
        ensemble="logits",
        disk=MODELS.disk(2),
        scratch=scratch,
        keys=Identity(RUNS, "").keys(),
        environment={"torch": "2"} if environment is None else environment,
        **options,
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Measures:
    return compute(tmp_path_factory.mktemp("expected") / "made")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """Return the scratch folder of a computation interrupted in its second tile, with ranks and
    products in it.
    """
    folder = tmp_path_factory.mktemp("begun")
    seen = []

    def progress(done: int, total: int, what: str) -> None:
        if seen or what.startswith("cka"):
            seen.append(what)
        if seen.count("correlation: multiplying ranks") == 7:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nondet_ext._spearman_files.products.SAVE_SECONDS", 0)
        patch.setattr("nondet_ext._spearman_files.shares.share_out", tiny)
        with pytest.raises(KeyboardInterrupt):
            compute(folder / "begun", progress=progress)
    found = read_record(folder / "begun/streaming/state.json")
    assert found is not None
    name = Identity(RUNS, found.entries["labels"]).name()
    return (folder / "begun").rename(folder / name)


def tiny(*_: object) -> Shares:
    return Shares(workers=1, chunk=500, group=300, nodes=1, stripes=2, columns=50, rank_bytes=4)


@pytest.fixture
def begun(interrupted, tmp_path) -> Path:
    """Return a copy of the scratch folder, in which no test has changed anything."""
    return shutil.copytree(interrupted, tmp_path / "measures" / interrupted.name)


def files(scratch: Path) -> list[Path]:
    return sorted(path for path in scratch.rglob("*") if path.is_file() and path.stat().st_size)


def resume(scratch: Path) -> Measures:
    """Return the result of the computation that was begun in a copy of this folder."""
    copy = shutil.copytree(scratch, scratch.parent.parent / "copy")
    try:
        return compute(copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def test_an_interrupted_computation_has_every_kind_of_file(begun, expected):
    names = {path.relative_to(begun / "streaming").as_posix() for path in files(begun)}
    assert names == {
        "state.json",
        *(f"model0000{i}.json" for i in range(3)),
        *(f"model0000{i}.{kind}.npy" for i in (0, 2) for kind in ("logits", "tap00")),
        *(f"tile00000.{part}.json" for part in ("correlation", "ensemble", "cka00")),
        "spearman/spearman_files.json",
        *(f"spearman/ranks0000{i}.{end}" for i in range(2) for end in ("bin", "json")),
        *(f"spearman/products0000{i}.json" for i in range(2)),
    }
    assert check_scratch(begun) == []
    same(resume(begun), expected)


def flips(scratch: Path, count: int) -> Iterator[str]:
    """Flip a random bit of the files, one after another, and yield the name of the file and the bit
    while it is flipped.
    """
    rng = np.random.default_rng(16)
    paths = files(scratch)
    for number in range(count):
        path = paths[number % len(paths)]
        data = path.read_bytes()
        flipped = bytearray(data)
        bit = int(rng.integers(8 * len(data)))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        yield f"{path.name}, bit {bit}"
        path.write_bytes(data)


@pytest.mark.slow
def test_every_flipped_bit_is_told(begun):
    for where in flips(begun, 2000):
        [problem, *_] = check_scratch(begun)
        assert f"the unfinished measures in {begun} are damaged: " in problem, where
        assert problem.isprintable()
    assert check_scratch(begun) == []


def test_no_flipped_bit_changes_a_result(begun, expected):
    for _ in flips(begun, len(files(begun))):
        same(resume(begun), expected)


def exchange(one: Path, other: Path) -> None:
    aside = one.rename(one.with_name("aside"))
    other.rename(one)
    aside.rename(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tile00000.correlation.json", "tile00000.ensemble.json"),
        ("tile00000.correlation.json", "tile00000.cka00.json"),
        ("model00000.json", "model00002.json"),
        ("model00000.json", "model00001.json"),
        ("model00000.logits.npy", "model00002.logits.npy"),
        ("model00000.tap00.npy", "model00002.tap00.npy"),
        ("tile00000.cka00.json", "model00000.json"),
        ("state.json", "model00000.json"),
    ],
)
def test_exchanged_files_are_told_and_computed_again(begun, expected, one, other):
    exchange(begun / "streaming" / one, begun / "streaming" / other)
    assert check_scratch(begun) != []
    same(resume(begun), expected)


def test_a_part_of_other_work_is_told_and_computed_again(begun, expected):
    """A part of the same name, of the same computation in another environment, is not used."""
    other = begun.parent / "other"
    with pytest.raises(KeyboardInterrupt):
        compute(other, environment={}, progress=InterruptedAt("ensemble"))
    shutil.copy(other / "streaming/tile00000.correlation.json", begun / "streaming")
    [problem] = check_scratch(begun)
    assert "tile00000.correlation.json: it belongs to other work" in problem
    same(resume(begun), expected)


class InterruptedAt:
    def __init__(self, what: str) -> None:
        self.what = what

    def __call__(self, done: int, total: int, what: str) -> None:
        if what.startswith(self.what):
            raise KeyboardInterrupt


def test_work_of_another_environment_is_begun_anew(begun, expected):
    steps = []

    def progress(done: int, total: int, what: str) -> None:
        steps.append(what)

    same(compute(begun, {"torch": "3"}, progress=progress), expected)
    assert steps[0].startswith("logits of model 1")


def test_parts_that_were_damaged_on_purpose_would_change_the_result(begun, expected):
    """Parts are used: with a renewed checksum, another number in a part is in the result."""
    path = begun / "streaming/tile00000.correlation.json"
    found = read_record(path)
    assert found is not None
    values = np.full((2, 2), 0.25)
    write_record(path, found.entries | {"float64": values.tobytes().hex()})
    assert resume(begun).correlation[0, 1] == 0.25 != expected.correlation[0, 1]


STRANGE = [b"", b"[]", b"null", b'"\xff"', b"{", b"[" * 100_000, b'{"sha256": 1}', b"9" * 5000]


@pytest.mark.parametrize("data", STRANGE)
def test_strange_json_is_told_and_computed_again(begun, expected, data):
    for path in sorted(begun.rglob("*.json")):
        before = path.read_bytes()
        path.write_bytes(data)
        assert check_scratch(begun) != [], path.name
        path.write_bytes(before)
    (begun / "streaming/spearman/spearman_files.json").write_bytes(data)
    same(resume(begun), expected)
    for path in begun.rglob("*.json"):
        if path.name != "state.json":
            path.write_bytes(data)
    same(resume(begun), expected)
    (begun / "streaming/state.json").write_bytes(data)
    same(resume(begun), expected)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tile00000.correlation.json", {"float64": None}),
        ("tile00000.correlation.json", {"float64": "00" * 8}),
        ("tile00000.correlation.json", {"float64": "zz" * 32}),
        ("model00000.json", {"files": []}),
        ("model00000.json", {"files": {}}),
        ("model00000.json", {"files": {"model00000.logits.npy": None}}),
        ("state.json", {"plan": None}),
        ("state.json", {"plan": []}),
        ("state.json", {"made": -1}),
        ("state.json", {"made": 10**9}),
        ("state.json", {"made": ["/tmp"]}),
        ("state.json", {"environment": []}),
        ("state.json", {"environment": None}),
    ],
)
def test_records_of_a_strange_form_are_not_used(begun, expected, name, change):
    path = begun / "streaming" / name
    found = read_record(path)
    assert found is not None
    write_record(path, found.entries | change)
    same(resume(begun), expected)


@pytest.mark.parametrize("change", [{"keys": None}, {"labels": 1}, {"more": 1}, {"version": 3}])
def test_work_of_another_kind_is_refused(begun, change):
    path = begun / "streaming/state.json"
    found = read_record(path)
    assert found is not None
    write_record(path, found.entries | change)
    with pytest.raises(ValueError, match="holds the unfinished work of another call"):
        resume(begun)


@pytest.mark.parametrize(
    "keys", [None, [], ["a"], [1, 2], ["a b c", "d e"], [f"{a} {b}" for a, b in reversed(RUNS)]]
)
def test_work_of_other_runs_under_this_name_is_told(begun, keys):
    path = begun / "streaming/state.json"
    found = read_record(path)
    assert found is not None
    write_record(path, found.entries | {"keys": keys})
    assert "state.json: it belongs to other runs" in check_scratch(begun)[-1]


def test_a_folder_in_use_is_not_checked(begun):
    (begun / "streaming/state.json").write_text("{")
    told = []

    def progress(*_: object) -> None:
        (begun / "streaming/model00000.json").write_text("{")
        told.append(check_scratch(begun))

    compute(begun, progress=progress)
    assert told
    assert not any(told)
    assert check_scratch(begun) == []


PLAN = {"tiles": [[0, 1], [0, 2], [1, 2]], "threads": 1, "needs": 5}


def test_a_plan_is_parsed():
    plan = DiskPlan([(0, 1), (0, 2), (1, 2)], 1, 5)
    assert parse_plan(json.loads(json.dumps(vars(plan))), 3) == plan


@pytest.mark.parametrize(
    "change",
    [
        {"tiles": None},
        {"tiles": []},
        {"tiles": [0, 1, 2]},
        {"tiles": [[0, 1], [0, 2]]},
        {"tiles": [[0, 1, 2, 3]]},
        {"tiles": [[-1, 0, 1, 2]]},
        {"tiles": [[2, 1, 0]]},
        {"tiles": [[0, 0, 1, 2]]},
        {"tiles": [[0, 1, 2], [2]]},
        {"tiles": [[0, 1, 2], []]},
        {"tiles": [[0.0, 1, 2]]},
        {"tiles": [[False, True, 2]]},
        {"tiles": {"0": [0, 1, 2]}},
        {"threads": 0},
        {"threads": "1"},
        {"threads": True},
        {"needs": None},
        {"needs": -1},
        {"more": 1},
    ],
)
def test_other_plans_are_refused(change):
    assert parse_plan(PLAN | change, 3) is None
    assert parse_plan(None, 3) is None
