"""Tests of the lines of records in other libraries: which line of the script led there."""

import importlib.util
import sysconfig
import textwrap
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

import nondet
import nondet_ext
from factories.recording import line_number, named, operations, record, records_of
from nondet.tracing.record.lines import LIBRARY, SKIPPED, USER, kind_of

SITE = sysconfig.get_path("purelib")
STANDARD = sysconfig.get_path("stdlib")


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/home/me/train.py", USER),
        ("train.py", USER),
        ("<string>", USER),
        ("/tmp/ipykernel_1/2.py", USER),
        ("/home/me/my-site-packages/train.py", USER),
        (f"{SITE}/transformers/trainer.py", LIBRARY),
        ("/home/me/.local/lib/python3.11/site-packages/skorch/net.py", LIBRARY),
        ("/usr/lib/python3/dist-packages/skorch/net.py", LIBRARY),
        (f"{sysconfig.get_path('scripts')}/torchrun", LIBRARY),
        (numpy.__file__, LIBRARY),
        (nondet.__file__, LIBRARY),
        (nondet_ext.__file__, LIBRARY),
        (f"{Path(nondet.__file__).parent}/models/resnet.py", LIBRARY),
        (f"{Path(nondet.__file__).parent}/tracing/record/lines.py", SKIPPED),
        (torch.__file__, SKIPPED),
        (nn.Linear.forward.__code__.co_filename, SKIPPED),
        (f"{STANDARD}/threading.py", SKIPPED),
        ("<frozen runpy>", SKIPPED),
        ("/tmp/torchinductor_me/ab/cd.py", SKIPPED),
    ],
)
def test_files_belong_to_the_script_to_libraries_or_to_torch(file, kind):
    assert kind_of(file) == kind


TRAINER = """
    import torch

    class Scale(torch.nn.Module):
        def __init__(self, inner=None):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            if self.inner is not None:
                x = self.inner(x)
            return x.exp() + x.sin()

    def square(x):
        return x * x

    def fit(function, x):
        loss = function(x).sum()
        loss.backward()

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2
"""


@pytest.fixture
def trainer(tmp_path):
    """A module of a package that is installed somewhere."""
    path = tmp_path / "site-packages" / "trainers" / "trainer.py"
    path.parent.mkdir(parents=True)
    path.write_text(textwrap.dedent(TRAINER))
    spec = importlib.util.spec_from_file_location("trainer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(record):
    """Return line and caller of a record: texts of a library, numbers of this file."""
    return [
        line and (line.number if line.file == __file__ else line.text)
        for line in (record.line, record.caller)
    ]


def test_operations_of_a_library_have_its_line_and_that_of_the_script(tmp_path, trainer):
    x = torch.ones(2)
    numbers = []

    def work():
        numbers.append(line_number() + 1)
        trainer.square(x)
        x.cos()
        trainer.square(x)

    found = operations(record(tmp_path / "a", work))
    [first] = numbers
    assert [lines(each) for each in found] == [
        ["return x * x", first],
        [first + 1, None],
        ["return x * x", first + 2],
    ]


def test_backward_operations_have_the_callers_of_forward_and_backward(tmp_path, trainer):
    x = torch.ones(2, requires_grad=True)

    def own(x):
        return trainer.square(x).cos()

    def work():
        trainer.fit(own, x)

    trace = record(tmp_path / "a", work)
    start = own.__code__.co_firstlineno
    called = work.__code__.co_firstlineno + 1
    assert lines(named(trace, "aten.mul")[0]) == ["return x * x", start + 1]
    assert lines(named(trace, "aten.cos")[0]) == [start + 1, None]
    total = named(trace, "aten.sum")[0]
    assert lines(total) == ["loss = function(x).sum()", called]
    backward = [each for each in operations(trace) if each.phase == "backward"]
    assert {each.backward_line.text for each in backward} == {"loss.backward()"}
    assert {each.backward_caller.number for each in backward} == {called}
    assert {each.backward_caller.file for each in backward} == {__file__}
    sine = next(each for each in backward if each.name == "aten.sin.default")
    assert lines(sine) == [start + 1, None]
    product = next(each for each in backward if each.name == "aten.mul.Tensor")
    assert product.line is not None
    assert ["return x * x", start + 1] in [lines(each) for each in backward]


def test_modules_of_a_library_remember_who_called_them(tmp_path, trainer):
    class Mine(nn.Module):
        def forward(self, x):
            return x.cos()

    own, other = trainer.Scale(trainer.Scale(Mine())), trainer.Scale()
    x = torch.ones(2)

    def work():
        own(x)
        trainer.square(other(x))
        own(x)

    found = operations(record(tmp_path / "a", work))
    start, mine = work.__code__.co_firstlineno, Mine.forward.__code__.co_firstlineno
    text = "return x.exp() + x.sin()"
    once = [[mine + 1, None], *[[text, start + 1]] * 6]
    again = [[mine + 1, None], *[[text, start + 3]] * 6]
    assert [lines(each) for each in found] == [
        *once,
        *[[text, start + 2]] * 3,
        ["return x * x", start + 2],
        *again,
    ]


def test_hooks_and_functions_have_their_own_lines(tmp_path, trainer):
    x = torch.ones(2, requires_grad=True)

    def hook(gradient):
        return trainer.square(gradient)

    def work():
        y = trainer.Twice.apply(x)
        y.register_hook(hook)
        y.sum().backward()

    trace = record(tmp_path / "a", work)
    forward, squared, backward = named(trace, "aten.mul")
    start = work.__code__.co_firstlineno
    assert lines(forward) == ["return x * 2", start + 1]
    assert lines(squared) == ["return x * x", hook.__code__.co_firstlineno + 1]
    assert lines(backward) == ["return gradient * 2", None]
    assert backward.backward_line.number == start + 3
    assert backward.backward_caller is None


def test_modules_at_level_modules_have_callers(tmp_path, trainer):
    x = torch.ones(2, requires_grad=True)
    layer = nn.Tanh()

    def work():
        trainer.fit(layer, x)

    found = records_of(record(tmp_path / "a", work, level="modules"))
    called = work.__code__.co_firstlineno + 1
    forward, backward = (each for each in found if each.kind == "module")
    assert lines(forward) == lines(backward) == ["loss = function(x).sum()", called]
    assert (backward.backward_line.text, backward.backward_caller.number) == (
        "loss.backward()",
        called,
    )


def test_a_thread_without_a_line_of_the_script_has_no_caller(tmp_path, trainer):
    import threading

    x = torch.ones(2)

    def work():
        thread = threading.Thread(target=trainer.square, args=(x,), name="work")
        thread.start()
        thread.join()

    trace = record(tmp_path / "a", work)
    [role] = [each.info.role for each in trace.streams if "thread" in each.info.role]
    [product] = operations(trace, role)
    assert lines(product) == ["return x * x", None]
