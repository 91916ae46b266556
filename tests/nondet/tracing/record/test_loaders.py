"""Tests of the records of batches."""

import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import nondet_ext
from factories.recording import record, records_of

# Torch warns of more workers than cores; what is recorded is the same.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Rows(Dataset):
    def __init__(self, count=6):
        self.x = torch.arange(count * 3.0).reshape(count, 3)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"x": self.x[i], "y": (i, np.float32(i))}


class Late(Rows):
    """Workers whose batches have a number of that parity take longer than the others."""

    def __init__(self, parity):
        super().__init__(8)
        self.parity = parity

    def __getitem__(self, i):
        if i % 2 == self.parity:
            time.sleep(0.5)
        return super().__getitem__(i)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.arange(6.0).reshape(6, 1))


def batches(trace):
    return [each for each in records_of(trace) if each.kind == "batch"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_has_its_tensors_rows_and_indices(workers, tmp_path):
    loader = DataLoader(Rows(), batch_size=2, num_workers=workers)
    seen = []

    def work():
        for batch in loader:
            seen.append(batch["x"].clone())
            batch["x"] * 2

    trace = record(tmp_path / "a", work)
    found = batches(trace)
    assert [each.name for each in found] == ["Rows"] * 3
    for each, x in zip(found, seen, strict=True):
        assert each.writes[0].digest == nondet_ext.fingerprint(x)
        assert len(each.facts["rows"]) == len(each.writes) == 3
        assert each.facts["rows"][0] == sum(nondet_ext.fingerprints(x)) % 2**64
        assert each.facts["workers"] == workers
    assert [each.facts.get("worker") for each in found] == ([0, 1, 0] if workers else [None] * 3)
    assert len({each.facts["indices"] for each in found}) == 3
    muls = [each for each in records_of(trace) if each.name == "aten.mul.Tensor"]
    assert all(each.reads[0].source.origin == "output" for each in muls)


def test_the_time_at_which_batches_arrive_is_not_recorded(tmp_path):
    def work(parity):
        loader = DataLoader(Late(parity), num_workers=2)
        return lambda: [batch["x"] + 1 for batch in loader]

    first, second = (record(tmp_path / str(parity), work(parity)) for parity in (0, 1))
    found = [[each.name for each in records_of(trace)] for trace in (first, second)]
    assert found[0] == found[1]
    assert found[0].count("Late") == 8


def test_rows_and_indices_in_another_order_are_the_same_set(tmp_path):
    def work(order):
        return lambda: list(DataLoader(Rows(), batch_size=6, sampler=order))

    a, b = (
        batches(record(tmp_path / name, work(order)))[0]
        for name, order in (("a", [0, 1, 2, 3, 4, 5]), ("b", [5, 3, 1, 0, 2, 4]))
    )
    assert a.facts["rows"] == b.facts["rows"]
    assert a.facts["index_set"] == b.facts["index_set"]
    assert a.facts["indices"] != b.facts["indices"]
    assert a.writes[0].digest != b.writes[0].digest


def test_a_batch_of_a_stream_has_no_indices(tmp_path):
    found = batches(record(tmp_path / "a", lambda: list(DataLoader(Stream(), batch_size=3))))
    assert len(found) == 2
    assert "indices" not in found[0].facts


def test_batches_without_tensors_are_recorded(tmp_path):
    loader = DataLoader(["a", "b"], batch_size=2)
    (batch,) = batches(record(tmp_path / "a", lambda: list(loader)))
    assert batch.writes == ()


def test_the_draws_of_a_loader_are_seen(tmp_path):
    loader = DataLoader(Rows(), batch_size=6, shuffle=True)
    trace = record(tmp_path / "a", lambda: list(loader))
    draws = [each.name for each in records_of(trace) if each.draws]
    assert draws[:2] == ["aten.random_.default"] * 2
    assert set(draws[2:]) == {"aten.randperm.generator"}
