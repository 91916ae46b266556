"""Tests that a traced run is the plain run, and that equal runs leave equal traces."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import nondet
from factories.recording import assert_equal, record


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu_(self.norm(self.first(x)))
        h = checkpoint(self.second, h, use_reentrant=False) + h
        return self.head(nn.functional.dropout(h.mean((2, 3)), 0.2, self.training))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.cell = nn.GRUCell(6, 5)
        self.attend = nn.MultiheadAttention(5, 1, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        h, outs = torch.zeros(len(x), 5), []
        for i in range(4):
            h = self.cell(self.embed(x[:, i]), h)
            outs.append(h)
        seen = torch.stack(outs, 1)
        return self.head(self.attend(seen, seen, seen)[0][:, -1])


OPTIMIZERS = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
}


def train(kind, optimizer, steps=3):
    torch.manual_seed(0)
    if kind is Residual:
        data = TensorDataset(torch.randn(12, 3, 6, 6), torch.randint(0, 3, (12,)))
    else:
        data = TensorDataset(torch.randint(0, 11, (12, 4)), torch.randint(0, 3, (12,)))
    loader = DataLoader(data, batch_size=4, shuffle=True)
    model = kind()
    opt = OPTIMIZERS[optimizer](model.parameters())
    for _, (x, y) in zip(range(steps), loader, strict=False):

        def closure(x=x, y=y):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            return loss

        opt.step(closure)
    return model.state_dict(), torch.get_rng_state()


CASES = [
    (Residual, "momentum", "ops"),
    (Recurrent, "adam", "ops"),
    (Recurrent, "adam", "modules"),
    *(
        pytest.param(kind, optimizer, level, marks=pytest.mark.slow)
        for kind, optimizer in (
            *((Residual, "foreach"), (Residual, "momentum"), (Recurrent, "fused")),
            (Recurrent, "lbfgs"),
        )
        for level in ("ops", "modules")
        if (optimizer, level) != ("momentum", "ops")
    ),
]


@pytest.mark.parametrize(("kind", "optimizer", "level"), CASES)
def test_the_traced_run_is_the_plain_run(kind, optimizer, level, tmp_path):
    plain, state = train(kind, optimizer)
    results = []
    traces = [
        record(tmp_path / name, lambda: results.append(train(kind, optimizer)), level=level)
        for name in "ab"
    ]
    for weights, after in results:
        assert torch.equal(after, state)
        for name, weight in weights.items():
            assert torch.equal(weight, plain[name]), name
    assert_equal(*traces)
    assert len(traces[0].streams[0].steps) >= 3


def test_the_plain_run_comes_back_after_a_trace(tmp_path):
    before = torch.nn.Module.__call__, torch.manual_seed, torch.optim.Optimizer.__init__
    record(tmp_path / "a", lambda: torch.ones(2) + 1)
    after = torch.nn.Module.__call__, torch.manual_seed, torch.optim.Optimizer.__init__
    assert after == before
    assert torch._C._len_torch_dispatch_stack() == 0


def test_equal_runs_with_verification_leave_equal_traces(tmp_path):
    traces = [
        record(tmp_path / name, lambda: train(Residual, "momentum"), verify_inputs=True)
        for name in "ab"
    ]
    assert_equal(*traces)


def test_another_seed_leaves_another_trace(tmp_path):
    def work(seed):
        torch.manual_seed(seed)
        torch.randn(3)

    a, b = (record(tmp_path / str(seed), lambda seed=seed: work(seed)) for seed in (1, 2))
    with pytest.raises(AssertionError):
        assert_equal(a, b)


def test_one_bit_of_a_constant_leaves_another_trace(tmp_path):
    x = torch.ones(3)
    a = record(tmp_path / "a", lambda: x + 1)
    nondet_flip(x)
    b = record(tmp_path / "b", lambda: x + 1)
    assert a.streams[0].entries == b.streams[0].entries
    assert (a.streams[0].steps[0].values != b.streams[0].steps[0].values).any()


def nondet_flip(x):
    x[1] = torch.nextafter(x[1], torch.tensor(2.0))


def test_a_step_call_without_a_trace_does_nothing():
    nondet.step()
