"""Tests of the description of settings."""

import json
import os

import pytest
import torch

from nondet.environment.settings import describe_settings
from nondet.execute.executors.worker import ONE_THREAD

STEERING = (
    "ATEN_CPU_CAPABILITY",
    "BLIS_ARCH_TYPE",
    "DNNL_MAX_CPU_ISA",
    "KMP_DETERMINISTIC_REDUCTION",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_DYNAMIC",
    "OMP_THREAD_LIMIT",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "OPENBLAS_CORETYPE",
    "TORCH_MKLDNN_MATMUL_MIN_DIM",
)
STEERING_CUDA = (
    "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDNN_CONV_WSCAP_DBG",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
OTHER = (
    "CUBLAS_LOGINFO_DBG",
    "CUDNN_LOGLEVEL_DBG",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "MKL_VERBOSE",
    "MKL_VERBOSE_OUTPUT_FILE",
    "OMP_DISPLAY_ENV",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "ONEDNN_JIT_DUMP",
    "ONEDNN_JIT_PROFILE",
    "ONEDNN_VERBOSE",
    "OPENBLAS_VERBOSE",
    "BLIS_NUM_THREADS",
    *ONE_THREAD,
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in describe_settings("cuda") | describe_settings("cuda")["cuda"]:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", STEERING)
def test_variables_that_steer_numerics_are_described(monkeypatch, name):
    monkeypatch.setenv(name, "a value")
    assert describe_settings("cpu")[name] == "a value"
    monkeypatch.setenv(name, "")
    assert name not in describe_settings("cpu")


@pytest.mark.parametrize("name", STEERING_CUDA)
def test_variables_of_cuda_are_described_for_its_devices(monkeypatch, name):
    monkeypatch.setenv(name, "a value")
    assert describe_settings("cuda:1")["cuda"][name] == "a value"
    assert "a value" not in json.dumps(describe_settings("cpu"))


def test_other_variables_are_not_described(monkeypatch):
    before = describe_settings("cuda")
    for name in OTHER:
        monkeypatch.setenv(name, "1")
    assert describe_settings("cuda") == before


def test_settings_are_json_and_reading_them_changes_none():
    state = dict(os.environ), torch.get_default_dtype(), torch.random.get_rng_state().tolist()
    settings = describe_settings("cuda")
    assert json.loads(json.dumps(settings)) == settings
    assert describe_settings("cuda") == settings
    assert state == (
        dict(os.environ),
        torch.get_default_dtype(),
        torch.random.get_rng_state().tolist(),
    )


def switched(name, device="cpu"):
    settings = describe_settings(device)
    return (settings["cuda"] if device == "cuda" else settings)["torch"][name]


def test_switches_of_torch_are_described():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert switched("autocast") == "torch.bfloat16"
    assert switched("autocast") == "off"

    torch.set_flush_denormal(True)
    try:
        assert switched("flush_denormal") is torch.set_flush_denormal(True)
    finally:
        torch.set_flush_denormal(False)
    assert switched("flush_denormal") is False

    torch.set_default_dtype(torch.float64)
    try:
        assert switched("get_default_dtype") == "torch.float64"
    finally:
        torch.set_default_dtype(torch.float32)

    with torch.backends.cudnn.flags(
        enabled=True, benchmark=True, benchmark_limit=3, deterministic=True
    ):
        assert switched("backends.cudnn.benchmark", "cuda") is True
        assert switched("backends.cudnn.benchmark_limit", "cuda") == "3"
        assert switched("backends.cudnn.deterministic", "cuda") is True


def test_a_precision_that_was_set_to_full_is_as_one_that_was_not_set(monkeypatch):
    name = "backends.mkldnn.matmul.fp32_precision"
    assert switched(name) == "ieee"
    torch.set_float32_matmul_precision("medium")
    try:
        assert switched(name) == "bf16"
        assert switched("get_float32_matmul_precision") == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert switched(name) == "ieee"


def test_a_switch_that_torch_refuses_to_sum_up_is_mixed(monkeypatch):
    def refuse():
        raise RuntimeError("the present status is mixed")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    assert switched("get_float32_matmul_precision") == "mixed"
    monkeypatch.delattr(torch, "get_float32_matmul_precision")
    assert switched("get_float32_matmul_precision") == "absent"
