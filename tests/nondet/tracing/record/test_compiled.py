"""Tests of compiled code under the recorder."""

import pytest
import torch
from torch import nn

from factories.recording import assert_equal, operations, record, records_of


def make(backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, torch.compile(model, backend=backend)


def train(backend, steps=3):
    model, compiled = make(backend)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        opt.zero_grad()
        compiled(torch.ones(5, 4)).square().sum().backward()
        opt.step()
    return [each.detach().clone() for each in model.parameters()]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_compiled_training_has_the_bits_and_graphs_of_the_plain_one(backend, tmp_path):
    plain = train(backend)
    compiles = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found = []
    traces = [record(tmp_path / name, lambda: found.append(train(backend))) for name in ("a", "b")]
    assert compiles > 0
    assert all(torch.equal(*pair) for each in found for pair in zip(each, plain, strict=True))
    assert_equal(*traces)
    graphs = [each for each in records_of(traces[0]) if each.kind == "graph"]
    if backend == "inductor":
        assert [each.name for each in graphs] == ["graph 1", "graph 2"] * 3
        assert [each.phase for each in graphs] == ["forward", "backward"] * 3
        assert graphs[0].reads[0].digest is not None
        assert "compiled" in {each.kind for each in traces[0].streams[0].unseen}
    else:
        assert graphs == []
        assert "aten.tanh.default" in {each.name for each in operations(traces[0])}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_eager_runs_compiled_code_uncompiled(tmp_path):
    trace = record(tmp_path / "a", lambda: train("inductor"), eager=True)
    assert "aten.tanh.default" in {each.name for each in operations(trace)}
    assert all(each.kind != "graph" for each in records_of(trace))
