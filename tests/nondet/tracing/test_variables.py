"""Tests of the choice of environment variables."""

import pytest

from nondet.tracing.variables import concerns_gpus, describe_variables, may_change_bits

DECISIVE = (
    "ATEN_CPU_CAPABILITY",
    "BLIS_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_VISIBLE_DEVICES",
    "CUDNN_CONV_WSCAP_DBG",
    "FLASH_ATTENTION_DETERMINISTIC",
    "GLIBC_TUNABLES",
    "KMP_DETERMINISTIC_REDUCTION",
    "LD_PRELOAD",
    "MALLOC_PERTURB_",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_NUM_THREADS",
    "NCCL_ALGO",
    "NCCL_TOPO_FILE",
    "NPY_DISABLE_CPU_FEATURES",
    "NUMEXPR_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "NVTE_ALLOW_NONDETERMINISTIC_ALGO",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "PL_GLOBAL_SEED",
    "PYTHONHASHSEED",
    "PYTHONOPTIMIZE",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "TF_ENABLE_ONEDNN_OPTS",
    "TORCHDYNAMO_DISABLE",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_MKLDNN_MATMUL_MIN_DIM",
    "WORLD_SIZE",
    "XLA_FLAGS",
)
INFORMATIVE = ("GOMP_CPU_AFFINITY", "KMP_BLOCKTIME", "LANG", "LC_ALL", "OMP_PROC_BIND", "TZ")
LEFT_OUT = (
    "CUBLAS_LOGINFO_DBG",
    "CUDA_CACHE_PATH",
    "CUDA_HOME",
    "EDITOR",
    "HF_TOKEN",
    "HOME",
    "MASTER_PORT",
    "MKL_VERBOSE",
    "NCCL_DEBUG",
    "NCCL_DEBUG_FILE",
    "NCCL_DEBUG_SUBSYS",
    "ONEDNN_JIT_DUMP",
    "ONEDNN_VERBOSE",
    "PATH",
    "PYTHONPATH",
    "PYTORCH_CI_TOKEN",
    "TF_CLI_CONFIG_FILE",
    "TORCHELASTIC_RUN_ID",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_API_KEY",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_HOME",
    "TORCH_LOGS",
    "TORCH_SHOW_CPP_STACKTRACES",
    "TORCH_TRACE",
    "TRITON_CACHE_DIR",
    "WANDB_API_KEY",
)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in describe_variables():
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", DECISIVE)
def test_variables_that_may_change_bits(monkeypatch, name):
    monkeypatch.setenv(name, "a value")
    assert describe_variables() == {name: "a value"}
    assert may_change_bits(name)
    monkeypatch.setenv(name, "")
    assert describe_variables() == {}


@pytest.mark.parametrize("name", INFORMATIVE)
def test_variables_that_inform(monkeypatch, name):
    monkeypatch.setenv(name, "a value")
    assert describe_variables() == {name: "a value"}
    assert not may_change_bits(name)


@pytest.mark.parametrize("name", LEFT_OUT)
def test_variables_that_print_name_places_or_are_secret(monkeypatch, name):
    monkeypatch.setenv(name, "a value")
    assert describe_variables() == {}
    assert not may_change_bits(name)


def test_variables_of_gpus():
    of_gpus = [name for name in DECISIVE if concerns_gpus(name)]
    assert of_gpus == [
        "CUBLAS_WORKSPACE_CONFIG",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES",
        "CUDNN_CONV_WSCAP_DBG",
        "NCCL_ALGO",
        "NCCL_TOPO_FILE",
        "NVIDIA_TF32_OVERRIDE",
        "PYTORCH_CUDA_ALLOC_CONF",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    ]


def test_values_are_bounded_and_can_be_written(monkeypatch):
    monkeypatch.setenv("OMP_SCHEDULE", "x" * 100_000)
    monkeypatch.setenv("MKL_CBWR", "caf\udce9")
    values = describe_variables()
    assert len(values["OMP_SCHEDULE"]) == 1000
    assert values["MKL_CBWR"].encode() == rb"caf\udce9"
