"""Test that spearman_files trusts nothing in a scratch folder that has been damaged."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nondet_ext
from nondet_ext._spearman_files import products, records
from nondet_ext._spearman_files.scratch import Scratch
from nondet_ext._spearman_files.shares import Shares
from nondet_ext._spearman_files.vectors import open_vector
from references.spearman_files import Steps, logits, oracle
from references.spearman_files import fixed_memory_use as fixed_memory_use
from references.spearman_files import tiny as tiny

ROWS = logits(3, 400, 0.2, np.float32)


@pytest.fixture(autouse=True)
def small(tiny, monkeypatch):
    monkeypatch.setattr(products, "SAVE_SECONDS", 0)
    tiny(Shares(workers=1, chunk=400, group=300, nodes=1, stripes=2, columns=20, rank_bytes=4))


def compute(folder: Path, steps: Steps | None = None, rows: np.ndarray = ROWS) -> np.ndarray:
    return nondet_ext.spearman_files(list(rows), scratch=folder, progress=steps or Steps()).numpy()


@pytest.fixture
def begun(tmp_path) -> Path:
    """Return the folder of a computation with all ranks and a part of the products."""
    steps = Steps()
    compute(tmp_path / "whole", steps)
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "begun", Steps(steps.calls - 8))
    names = {path.name for path in (tmp_path / "begun").iterdir()}
    assert {"spearman_files.json", "ranks00002.json", "products00001.json"} <= names
    return tmp_path / "begun"


def resume(begun: Path) -> tuple[np.ndarray, Steps]:
    """Return the result of the computation that was begun in a copy of this folder, and its
    steps.
    """
    folder = shutil.copytree(begun, begun.parent / "copy")
    steps = Steps()
    found = compute(folder, steps)
    assert not folder.exists() or list(folder.iterdir()) == []
    shutil.rmtree(folder, ignore_errors=True)
    return found, steps


def test_undamaged_work_is_used(begun):
    found, steps = resume(begun)
    np.testing.assert_array_equal(found, oracle(ROWS))
    assert steps.texts == {"multiplying ranks"}
    assert steps.calls <= 10


def flips(folder: Path, count: int) -> Iterator[str]:
    """Flip a random bit of the folder's files, one after another, and yield the name of the file
    while it is flipped.
    """
    rng = np.random.default_rng(16)
    paths = sorted(folder.iterdir())
    for number in range(count):
        path = paths[number % len(paths)]
        data = path.read_bytes()
        flipped = bytearray(data)
        bit = int(rng.integers(8 * len(data)))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        yield path.name
        path.write_bytes(data)


def test_no_flipped_bit_changes_a_result(begun):
    """The result is the same whichever file is damaged, because that file is computed again."""
    expected = oracle(ROWS)
    for name in flips(begun, 60):
        found, steps = resume(begun)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        if name.startswith(("ranks", "spearman")):
            assert "writing ranks" in steps.texts, name
        else:
            assert steps.texts == {"multiplying ranks"}


@pytest.mark.slow
def test_every_flipped_bit_is_noticed(begun):
    inputs = [open_vector(f"files[{i}]", row).identity() for i, row in enumerate(ROWS)]

    def usable() -> tuple[list[int], list[int]]:
        """Return the vectors that must be ranked again, and the stripes whose products are kept."""
        scratch = Scratch(begun, True, inputs, ROWS.shape[1], np.dtype("i4"))
        scratch.check(0)
        return scratch.unranked(), sorted(scratch.load_products())

    assert usable() == ([], [0, 1])
    for name in flips(begun, 2000):
        vectors, stripes = usable()
        if name == "spearman_files.json":
            assert (vectors, stripes) == ([0, 1, 2], [])
        elif name.startswith("ranks"):
            assert (vectors, stripes) == ([int(name[5:10])], [0, 1])
        else:
            assert (vectors, stripes) == ([], [1 - int(name[8:13])])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ranks00000.bin", "ranks00001.bin"),
        ("ranks00000.json", "ranks00001.json"),
        ("products00000.json", "products00001.json"),
        ("ranks00000.json", "products00000.json"),
    ],
)
def test_exchanged_files_are_computed_again(begun, one, other):
    (begun / one).rename(begun / "aside")
    (begun / other).rename(begun / one)
    (begun / "aside").rename(begun / other)
    np.testing.assert_array_equal(resume(begun)[0], oracle(ROWS))


def test_exchanged_ranks_with_their_records_are_computed_again(begun):
    for end in ("bin", "json"):
        one, other = begun / f"ranks00000.{end}", begun / f"ranks00001.{end}"
        one.rename(begun / "aside")
        other.rename(one)
        (begun / "aside").rename(other)
    np.testing.assert_array_equal(resume(begun)[0], oracle(ROWS))


def test_files_of_other_work_are_computed_again(begun, tmp_path):
    """Ranks and products of other vectors, left beside the state of this work, are not used."""
    other = logits(3, 400, 0.2, np.float32, seed=2)
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "other", Steps(30), other)
    for path in (tmp_path / "other").iterdir():
        if path.name != "spearman_files.json":
            shutil.copy(path, begun)
    np.testing.assert_array_equal(resume(begun)[0], oracle(ROWS))


STRANGE = [b"", b"[]", b"null", b'"\xff"', b"{", b"[" * 100_000, b'{"sha256": 1}', b"9" * 5000]


@pytest.mark.parametrize("data", STRANGE)
@pytest.mark.parametrize(
    "name", ["spearman_files.json", "ranks00001.json", "products00000.json", "products99999.json"]
)
def test_strange_files_count_as_absent(begun, name, data):
    (begun / name).write_bytes(data)
    np.testing.assert_array_equal(resume(begun)[0], oracle(ROWS))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("products00000.json", {"stripe": 1}),
        ("products00001.json", {"stripe": 0}),
        ("products00000.json", {"stripe": "0"}),
        ("products00000.json", {"stripes": 0}),
        ("products00000.json", {"stripes": 10**30}),
        ("products00000.json", {"columns": 201}),
        ("products00000.json", {"columns": -20}),
        ("products00000.json", {"columns": None}),
        ("products00000.json", {"total0": "00"}),
        ("products00000.json", {"total0": "zz" * 144}),
        ("products00000.json", {"total0": None}),
        ("products00000.json", {"more": 1}),
        ("ranks00001.json", {"files": []}),
        ("ranks00001.json", {"vector": 0}),
        ("ranks00001.json", {"work": None}),
        ("spearman_files.json", {"made": -1}),
        ("spearman_files.json", {"made": 10**9}),
        ("spearman_files.json", {"made": "/tmp"}),
    ],
)
def test_records_of_a_strange_form_count_as_absent(begun, name, change):
    record = json.loads((begun / name).read_bytes())
    assert records.read(begun / name) is not None
    for entry in ("sha256", "file"):
        del record[entry]
    records.write(begun / name, record | change)
    np.testing.assert_array_equal(resume(begun)[0], oracle(ROWS))


@pytest.mark.parametrize(
    "change", [{"inputs": None}, {"inputs": [1]}, {"inputs": []}, {"version": 3}, {"more": 1}]
)
def test_work_of_another_kind_is_refused(begun, change):
    record = json.loads((begun / "spearman_files.json").read_bytes())
    for entry in ("sha256", "file"):
        del record[entry]
    records.write(begun / "spearman_files.json", record | change)
    before = sorted(begun.iterdir())
    with pytest.raises(ValueError, match="holds the unfinished work of another call"):
        compute(begun)
    assert sorted(begun.iterdir()) == before


def test_a_record_under_another_name_is_none(tmp_path):
    checksum = records.write(tmp_path / "one.json", {"work": "a"})
    assert records.read(tmp_path / "one.json") == ({"work": "a"}, checksum)
    (tmp_path / "one.json").rename(tmp_path / "other.json")
    assert records.read(tmp_path / "other.json") is None
