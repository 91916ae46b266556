"""Tests of the probe: it notices what changes the bits of trainings, and nothing else."""

import functools
import threading

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from factories.environments import SWITCHES, measures_under
from nondet.environment import decisive
from nondet.environment import probe as module
from nondet.environment.probe import compute_probe
from nondet.environment.settings import describe_settings
from nondet.training.determinism import deterministic

VARIABLES = (
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ATEN_CPU_CAPABILITY": "default"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"MKL_CBWR": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
)

MOST_TELLING = ({"ATEN_CPU_CAPABILITY": "avx2"},)
"""The variables that are also tested without the marker `slow`: each takes a process of its own."""

measures_under_switches = functools.cache(lambda: measures_under({}, with_switches=True))


@pytest.fixture(autouse=True)
def _one_thread():
    with deterministic(1):
        yield


@pytest.fixture
def probe():
    return compute_probe("cpu")


# -- what it notices ---------------------------------------------------------------------------


def check(default, other):
    """Check that another environment differs, by its probe if trainings have other bits."""
    assert decisive(other["environment"]) != decisive(default["environment"])
    if other["training"] != default["training"]:
        assert other["environment"]["probe"] != default["environment"]["probe"]


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(each, marks=[] if each in MOST_TELLING else pytest.mark.slow)
        for each in VARIABLES
    ],
    ids=str,
)
def test_variables_that_change_trainings_are_noticed(variables):
    default = measures_under_switches()["default"]
    other = measures_under(variables)["default"]
    check(default, other)
    capabilities = [one["environment"]["torch_cpu_capability"] for one in (default, other)]
    if len(set(capabilities)) == 2:
        assert other["environment"]["probe"] != default["environment"]["probe"]


@pytest.mark.parametrize("name", ["two threads", *SWITCHES])
def test_switches_that_change_trainings_are_noticed(name):
    measures = measures_under_switches()
    check(measures["default"], measures[name])


def test_the_environment_is_as_before_once_switches_are():
    measures = measures_under_switches()
    again = measures["default again"]
    assert decisive(again["environment"]) == decisive(measures["default"]["environment"])
    assert again["training"] == measures["default"]["training"]


def test_an_environment_of_this_process_is_that_of_another(probe):
    if set(describe_settings("cpu")) != {"torch"}:
        pytest.skip("variables that steer numerics are set")
    assert measures_under_switches()["default"]["environment"]["probe"] == probe


def next_bits(function):
    """Return the function with its result's last element moved to the next float."""

    def changed(*arguments, **named):
        result = function(*arguments, **named).clone(memory_format=torch.contiguous_format)
        last = result.detach().view(-1)[-1:]
        last.copy_(torch.nextafter(last, last + 1))
        return result

    return changed


@pytest.mark.parametrize(
    ("owner", "name", "part"),
    [
        (F, "linear", "matmul"),
        (F, "conv2d", "convolution"),
        (F, "batch_norm", "normalization"),
        (F, "layer_norm", "normalization"),
        (F, "cross_entropy", "softmax"),
        (torch, "addcdiv", "elementwise"),
        (torch.linalg, "vector_norm", "sum"),
    ],
)
def test_one_other_bit_changes_the_digest_of_its_part(monkeypatch, probe, owner, name, part):
    monkeypatch.setattr(owner, name, next_bits(getattr(owner, name)))
    other = compute_probe("cpu")
    assert [each for each in probe if other[each] != probe[each]] == [part]


def test_flushed_subnormals_change_the_digest_of_their_part(probe):
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no such switch")
    try:
        flushed = compute_probe("cpu")
    finally:
        torch.set_flush_denormal(False)
    assert [part for part in probe if flushed[part] != probe[part]] == ["subnormal"]


# -- what it does not notice -------------------------------------------------------------------


def test_digests_are_short_and_equal_whenever_computed(probe):
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in probe.values())
    assert len(set(probe.values())) == len(probe) == 8
    torch.manual_seed(5)
    images = torch.randn(3, 7, 20, 20, requires_grad=True)
    F.conv2d(images, torch.randn(5, 7, 3, 3)).sigmoid().sum().backward()
    torch.linalg.svd(torch.randn(90, 70))
    assert compute_probe("cpu") == probe
    with deterministic(2):
        assert compute_probe("cpu") == compute_probe("cpu")
    assert compute_probe("cpu") == probe


def test_digests_are_equal_in_another_thread(probe):
    found = []

    def compute():
        with deterministic(1):  # a new thread has the default number
            found.append(compute_probe("cpu"))

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert found == [probe]


def anomaly_detection():
    return torch.autograd.detect_anomaly(check_nan=True)


@pytest.mark.parametrize(
    "context",
    [
        torch.no_grad,
        torch.inference_mode,
        anomaly_detection,
        lambda: torch.device("meta"),
        lambda: torch.autocast("cpu"),
        torch.autograd.graph.save_on_cpu,
    ],
)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_modes_of_the_caller_do_not_count(probe, context):
    module._values.cache_clear()  # as in the first call of a process
    with context():
        assert compute_probe("cpu") == probe
    assert compute_probe("cpu") == probe


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_count(probe, dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        assert compute_probe("cpu") == probe
    finally:
        torch.set_default_dtype(before)


def test_deterministic_algorithms_do_not_count(probe):
    torch.use_deterministic_algorithms(False)
    assert compute_probe("cpu") == probe
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # restored by `deterministic`
    assert compute_probe("cpu") == probe


# -- what it leaves as it was ------------------------------------------------------------------


def settings():
    return (
        torch.random.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        torch.get_float32_matmul_precision(),
    )


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_of_the_caller_is_changed(context):
    with context(), torch.autocast("cpu"):
        before = settings()
        compute_probe("cpu")
        assert settings() == before


def test_inputs_are_exact_and_use_all_bits():
    for dtype, bits in ((torch.float32, 24), (torch.float64, 53)):
        values = module._values("cpu", dtype)
        assert values.dtype == dtype
        assert float(values.min()) < -0.999
        assert float(values.max()) > 0.999
        integers = values.double().mul(2.0 ** (bits - 1)).long()
        assert torch.equal(integers.double().mul(2.0 ** -(bits - 1)), values.double())
        assert 0.45 < (integers % 2).double().mean() < 0.55


def test_no_result_is_nan_and_few_are_constant():
    """A NaN's bits may differ between equal computations; a constant notices nothing."""
    constant = 0
    for name, part in module._PARTS.items():
        with torch.enable_grad():
            results = [x.detach().double().flatten() for x in part(module._Inputs("cpu"))]
        assert all(bool(x.isfinite().all()) for x in results), name
        constant += sum(len(x) > 3 and bool((x == x[0]).all()) for x in results)
    assert constant == 0
