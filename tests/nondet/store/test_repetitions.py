"""Test the record of repeated passes."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from factories.studies import made_study
from nondet.analysis.summary import summarize
from nondet.json_files import format_checksummed
from nondet.report.build import build
from nondet.store import StoreError, verify
from nondet.store.repetitions import NAME, Repetitions, add_repetitions, read_repetitions

MADE = Repetitions(
    model="hidden-conv",
    dataset="digits",
    batch_size=64,
    precision="float32",
    device="cuda",
    gpu="a GPU",
    passes=20,
    processes=4,
    results=7,
    within=5,
    obstacle="",
    date="2026-01-31T12:00:00+00:00",
)


def test_repetitions_are_kept_in_order(tmp_path):
    held = []

    @contextmanager
    def alone():
        held.append(read_repetitions(tmp_path))
        yield

    assert read_repetitions(tmp_path) == []
    add_repetitions(tmp_path, [MADE], alone)
    others = [replace(MADE, results=1, within=1, obstacle="why"), MADE]
    add_repetitions(tmp_path, others, alone)
    assert read_repetitions(tmp_path) == [MADE, *others]
    assert held == [[], [MADE]]


def test_equal_ones_are_told_once_in_a_report_and_the_folder_is_sound(tmp_path):
    store = made_study(tmp_path / "study")
    before = verify(store.root).problems
    add_repetitions(store.root, [MADE, replace(MADE, date="2026-02-01T12:00:00+00:00")])
    assert verify(store.root).problems == before
    notes = build(summarize(store.plan(), store)).notes
    assert notes.count(f"{MADE.in_words()}.") == 1
    # Its rows vary nothing of the vendor's.
    assert not any("did not differ" in note for note in notes)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"format": 3, "repetitions": []}',
        format_checksummed({"format": 4, "repetitions": []}),
        format_checksummed({"format": 3, "repetitions": [vars(MADE) | {"results": -1}]}),
        format_checksummed({"format": 3, "repetitions": [vars(MADE) | {"date": "today"}]}),
        format_checksummed({"format": 3, "repetitions": [{"model": "hidden-conv"}]}),
    ],
)
def test_damage_is_named_and_hides_no_run(tmp_path, data):
    store = made_study(tmp_path / "study")
    (store.root / NAME).write_bytes(data)
    with pytest.raises(StoreError, match=f"{NAME} cannot be read: .*remove it to go on"):
        read_repetitions(store.root)
    with pytest.raises(StoreError, match=f"{NAME} cannot be read"):
        add_repetitions(store.root, [MADE])
    assert (store.root / NAME).read_bytes() == data
    assert any(NAME in problem for problem in verify(store.root).problems)
    summary = summarize(store.plan(), store)
    assert summary.repetitions == ()
    assert any(NAME in note for note in build(summary).notes)
