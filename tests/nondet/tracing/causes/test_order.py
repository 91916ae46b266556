"""Order of data, of results and of parameters; batches and workers."""

import pytest

from factories.evidence import make_evidence
from nondet.tracing.causes import explain


def named(make, **how) -> list[str]:
    """Return the causes that are named."""
    return [each.cause for each in explain(make_evidence(make, **how))]


def test_integers_that_hashing_strings_makes():
    def make(stream, other, dtype="int64"):
        stream.op("aten.lift_fresh.default", stream.tensor(1 + other, dtype=dtype), view_of=0)

    assert named(make) == ["hash-seed"]
    assert named(make, header={"environment": {"PYTHONHASHSEED": "0"}}) == ["outside-data"]
    assert named(lambda s, o: make(s, o, "float32")) == ["outside-data"]


def test_parameters_in_the_order_of_a_set():
    def make(stream, other):
        tensors = [stream.parameter(f"p{n}") for n in range(5)]
        total = stream.batch()
        for tensor in reversed(tensors) if other else tensors:
            total = stream.op("aten.mul.Tensor", tensor, total, line=3)

    assert named(make) == ["parameter-set"]


def test_results_in_the_order_of_completion():
    role = "main/thread pool_0"

    def worker(stream, other):
        for number in range(3):
            stream.op("aten.mean.default", stream.tensor(number), digest=50 + number)

    def make(stream, other):
        total = stream.batch()
        for number in (2, 0, 1) if other else (0, 1, 2):
            result = stream.tensor(50 + number, label=role)
            total = stream.op("aten.add.Tensor", total, result, line=3)

    assert named(make, others={role: worker}) == ["completion-order"]


def files(stream, other, order=(2, 0, 1)):
    total = stream.batch()
    for number in order if other else (0, 1, 2):
        data = stream.op("aten.lift_fresh.default", stream.tensor(50 + number), view_of=0, line=3)
        total = stream.op("aten.add.Tensor", total, data, line=4)


def test_files_in_another_order():
    assert named(files) == ["directory-order"]


def test_files_that_python_shuffled():
    def make(stream, other):
        files(stream, other)
        stream.generator("random", 8 + other)

    assert named(make) == ["python-unseeded"]


def test_another_file_is_not_another_order():
    assert named(lambda s, o: files(s, o, (0, 1, 5))) == ["outside-data"]


def batches(stream, other, order=(1, 0), workers=(2, 2), rows=True, shape=(4,)):
    for number in order if other else (0, 1):
        facts = {"workers": workers[other]} | ({"rows": (70 + number,)} if rows else {})
        x = stream.batch(bits=number, facts=facts, line=2, shape=shape)
        stream.op("aten.mm.default", x)
        stream.step()


def test_batches_as_workers_finish_them():
    assert named(batches) == ["batch-order"]


def test_batches_of_a_loader_without_workers_in_another_order():
    assert named(lambda s, o: batches(s, o, workers=(0, 0))) == ["directory-order"]


def test_another_number_of_workers():
    assert named(lambda s, o: batches(s, o, (5, 6), (1, 2))) == ["worker-count"]


def test_other_batches_of_equally_many_workers():
    assert named(lambda s, o: batches(s, o, (5, 6), (0, 0))) == ["outside-data"]


def training(stream, parts, size=8):
    for part in range(parts):
        x = stream.batch(bits=part, shape=(size // parts, 3))
        y = stream.op("aten.mm.default", x)
        stream.op("aten.mm.default", y, phase="backward")
    stream.step()


def test_batches_of_another_size():
    def make(stream, other):
        stream.op("aten.mm.default", stream.batch(shape=(4 if other else 8, 3)))

    assert named(make) == ["batch-size"]


def test_gradients_of_several_parts():
    assert named(lambda s, o: training(s, 2 if o else 1)) == ["gradient-accumulation"]


def test_another_width_is_not_another_batch_size():
    def make(stream, other):
        stream.op("aten.mm.default", stream.batch(shape=(8, 4 if other else 3)))

    assert "batch-size" not in named(make)


@pytest.mark.parametrize("role", ["main/thread one"])
def test_the_same_in_another_order_without_a_known_reason(role):
    def make(stream, other):
        x = stream.batch()
        names = ["aten.sin.default", "aten.cos.default", "aten.exp.default"]
        results = [stream.op(name, x) for name in (names[::-1] if other else names)]
        stream.op("aten.stack.default", *results)

    assert named(make) == ["other-order"]
