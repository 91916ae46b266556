"""Tests of the lines, modules and phases of records."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from factories.recording import line_number, named, operations, record, records_of


class Inner(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.layers = nn.Sequential(nn.Linear(3, 3), nn.ReLU())

    def forward(self, x):
        return self.layers(self.inner(x)).exp()


def numbers(records):
    return [(each.line.number if each.line else None) for each in records]


def test_operations_have_the_line_of_the_script_and_the_module(tmp_path):
    model, x = Outer(), torch.ones(2, 3)
    trace = record(tmp_path / "a", lambda: model(x))
    sin, linear, relu, exp = (
        named(trace, f"aten.{name}")[0] for name in ("sin", "addmm", "relu", "exp")
    )
    assert sin.line.text == "return torch.sin(x)"
    assert sin.line.function == "Inner.forward"
    assert sin.line.file == __file__
    assert sin.module == "Outer.inner"
    assert linear.module == "Outer.layers.0"
    assert linear.line.text == exp.line.text == "return self.layers(self.inner(x)).exp()"
    assert relu.module == "Outer.layers.1"
    assert exp.module == "Outer"


def test_lines_in_a_loop_and_two_calls_of_a_module_are_told_apart(tmp_path):
    relu = nn.ReLU()
    x = torch.ones(2)

    def work():
        for _ in range(2):
            relu(x)
            relu(x)

    found = operations(record(tmp_path / "a", work))
    first = found[0].line.number
    assert numbers(found) == [first, first + 1] * 2


def test_backward_operations_have_the_line_of_their_forward(tmp_path):
    w = torch.ones(3, requires_grad=True)
    lines = {}

    def work():
        lines["sin"] = line_number() + 1
        y = w.sin()
        z = y.exp().sum()
        lines["backward"] = line_number() + 1
        z.backward()

    trace = record(tmp_path / "a", work)
    cos = named(trace, "aten.cos")[0]
    assert (cos.phase, cos.line.number) == ("backward", lines["sin"])
    assert cos.backward_line.number == lines["backward"]
    expand = named(trace, "aten.expand")[0]
    assert (expand.phase, expand.line.number) == ("backward", lines["sin"] + 1)


def test_backward_operations_have_the_module_of_their_forward(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    x = torch.ones(2, 2)
    trace = record(tmp_path / "a", lambda: model(x).sum().backward())
    assert named(trace, "aten.tanh_backward")[0].module == "Sequential.1"
    accumulated = [each.module for each in records_of(trace) if each.module.endswith("weight")]
    assert accumulated
    assert set(accumulated) == {"Sequential.0.weight"}


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_the_backward_of_a_function_has_its_own_line(tmp_path):
    x = torch.ones(2, requires_grad=True)
    trace = record(tmp_path / "a", lambda: Double.apply(x).sum().backward())
    forward, backward = named(trace, "aten.mul")
    assert forward.line.text == "return x * 2"
    assert (backward.line.text, backward.phase) == ("return g * 2", "backward")
    assert "Double.apply(x)" in backward.backward_line.text


def test_hooks_have_their_own_line(tmp_path):
    x = torch.ones(2, requires_grad=True)

    def hook(gradient):
        return gradient * 3

    def work():
        y = x.exp()
        y.register_hook(hook)
        y.sum().backward()

    mul = named(record(tmp_path / "a", work), "aten.mul")[0]
    assert mul.line.text == "return gradient * 3"
    assert mul.phase == "backward"


def test_double_backward_goes_to_the_first_line(tmp_path):
    x = torch.ones(2, requires_grad=True)
    lines = {}

    def work():
        lines["sin"] = line_number() + 1
        y = x.sin().sum()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        g.sum().backward()

    trace = record(tmp_path / "a", work)
    sine = [each for each in named(trace, "aten.sin") if each.phase == "backward"]
    assert numbers(sine) == [lines["sin"]]


def test_recomputed_operations_have_their_line_and_module(tmp_path):
    model, x = Outer(), torch.ones(2, 3, requires_grad=True)

    def work():
        model(x).sum()
        checkpoint(model, x, use_reentrant=False).sum().backward()

    trace = record(tmp_path / "a", work)
    sines = named(trace, "aten.sin")
    assert [each.phase for each in sines] == ["forward", "forward", "backward"]
    assert {each.line.text for each in sines} == {"return torch.sin(x)"}
    assert {each.module for each in sines} == {"Outer.inner"}
    relu = named(trace, "aten.threshold_backward")[0]
    assert relu.module == "Outer.layers.1"
    assert relu.line.text == "return self.layers(self.inner(x)).exp()"


def test_roots_of_one_class_have_different_names(tmp_path):
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    x = torch.ones(1, 2)

    def work():
        first(x)
        second(x)
        first(x)

    found = named(record(tmp_path / "a", work), "aten.addmm")
    assert [each.module for each in found] == ["Linear", "Linear 2", "Linear"]


def test_a_module_that_is_added_later_gets_its_name(tmp_path):
    model = nn.Sequential(nn.Tanh())
    x = torch.ones(2)

    def work():
        model(x)
        model.append(nn.Sigmoid())
        model(x)

    assert named(record(tmp_path / "a", work), "aten.sigmoid")[0].module == "Sequential.1"


def test_parameters_are_recorded_by_name_once(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    x = torch.ones(3, 2)

    def work():
        torch.optim.SGD(model.parameters(), lr=0.1)
        model(x)
        model(x)

    trace = record(tmp_path / "a", work)
    found = [each.name for each in records_of(trace) if each.kind == "parameter"]
    assert found[:4] == [f"SGD.0.{i}" for i in range(4)]
    assert found[4:] == [
        f"Sequential.{name}" for name, _ in [*model.named_parameters(), *model.named_buffers()]
    ]
    linear = named(trace, "aten.addmm")[0]
    assert linear.reads[0].source.label == "Sequential.0.bias"
    assert linear.reads[0].source.origin == "output"


def test_level_modules_records_outputs_and_gradients(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    x = torch.ones(2, 3)
    found = []

    def work():
        found.append(model(x))
        found[0].sum().backward()

    trace = record(tmp_path / "a", work, level="modules")
    calls = [each for each in records_of(trace) if each.kind == "module"]
    names = [f"Sequential.{i}" for i in range(3)]
    assert [each.name for each in calls if each.phase == "forward"] == names
    backward = [each for each in calls if each.phase == "backward"]
    assert [each.name for each in backward] == names[::-1]
    assert all(each.backward_line is not None for each in backward)
    assert calls[2].reads[0].source[:3] == ("output", 1, 0)
    assert operations(trace) == []
