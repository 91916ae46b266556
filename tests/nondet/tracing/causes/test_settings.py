"""Settings, modes and GPUs."""

import pytest

from factories.evidence import differ, make_evidence
from nondet.tracing.causes import explain


def named(make, **how) -> list[str]:
    """Return the causes that are named."""
    return [each.cause for each in explain(make_evidence(make, **how))]


def wrote(name="aten.mm.default", both=None, only_b=None, **how):
    """Return what makes a stream with an operation that writes other bits in b."""

    def make(stream, other):
        x = stream.batch(device=how.get("device", "cpu"))
        facts = {**(both or {}), **((only_b or {}) if other else {})}
        alignment = how.get("alignment", (64, 64))[other]
        kind = {key: how[key] for key in ("arguments", "phase", "device") if key in how}
        stream.op(name, x, noise=other, facts=facts, alignment=alignment, line=3, **kind)

    return make


@pytest.mark.parametrize(
    ("name", "setting", "cause"),
    [
        ("aten.sum.default", "threads", "thread-count"),
        ("aten.convolution.default", "settings.torch.backends.mkldnn.enabled", "onednn"),
        ("aten.mm.default", "settings.torch.get_float32_matmul_precision", "matmul-precision"),
        ("aten._softmax.default", "cpu_capability", "cpu-capability"),
        ("aten._softmax.default", "settings.ATEN_CPU_CAPABILITY", "cpu-capability"),
        ("aten.mul.Tensor", "settings.torch.flush_denormal", "denormals"),
        ("aten.mul.Tensor", "packages.torch", "other-version"),
        ("aten.mul.Tensor", "settings.OMP_SCHEDULE", "environment"),
    ],
)
def test_a_setting_that_differs(name, setting, cause):
    assert named(wrote(name), headers=[differ(setting, 1, 2)]) == [cause]


def test_a_setting_of_products_says_nothing_of_other_operations():
    headers = [differ("settings.torch.backends.mkldnn.enabled", True, False)]
    assert named(wrote("aten.exp.default"), headers=headers) == ["environment"]


def test_settings_say_nothing_of_another_seed():
    def make(stream, other):
        stream.seed(seed=3 + other)

    headers = [differ("threads", 1, 2), differ("packages.torch", "1", "2")]
    assert named(make, headers=headers) == ["seed-from-clock"]


@pytest.mark.parametrize(
    ("fact", "value", "cause"),
    [
        ("training", False, "train-eval"),
        ("autocast", "bfloat16", "autocast"),
        ("flush_denormal", True, "denormals"),
        ("threads", 3, "thread-count"),
    ],
)
def test_a_fact_that_differs(fact, value, cause):
    both = {"training": True} if fact == "training" else {}
    assert named(wrote(both=both, only_b={fact: value})) == [cause]


def test_a_dtype_that_differs():
    def make(stream, other, facts=None):
        x = stream.batch(dtype="bfloat16" if other else "float32")
        stream.op("aten.mm.default", x, facts=facts if other else {})

    assert named(make) == ["other-dtype"]


def test_a_cast_by_autocast():
    def make(stream, other):
        x = stream.batch()
        facts = {"autocast": "bfloat16"} if other else {}
        if other:
            x = stream.op("aten._to_copy.default", x, dtype="bfloat16", facts=facts)
        stream.op("aten.mm.default", x, facts=facts, line=3)

    assert named(make) == ["autocast"]


def test_a_fused_optimizer():
    def make(stream, other):
        w, gradient = stream.parameter("w"), stream.batch()
        if other:
            stream.op("aten._fused_adam_.default", w, gradient, into=0)
        else:
            v = stream.op("aten._foreach_mul_.Scalar", w, into=0)
            stream.op("aten._foreach_addcdiv_.ScalarList", v, gradient, into=0)

    assert named(make) == ["fused-optimizer"]


def test_another_alignment():
    make = wrote("aten.mv.default", alignment=(64, 4))
    assert named(make) == ["alignment"]
    assert named(make, headers=[differ("threads", 1, 2)]) == ["thread-count"]


@pytest.mark.parametrize(
    ("name", "how", "headers", "header", "cause"),
    [
        ("aten.index_add_.default", {}, [], {}, "gpu-atomics"),
        ("aten.embedding_dense_backward.default", {"phase": "backward"}, [], {}, "gpu-atomics"),
        (
            "aten._scaled_dot_product_flash_attention_backward.default",
            {"phase": "backward"},
            [],
            {},
            "attention-backward",
        ),
        ("aten.mm.default", {}, [("backends.cuda.matmul.allow_tf32", 0, 1)], {}, "tf32"),
        ("aten.mm.default", {}, [("NVIDIA_TF32_OVERRIDE", 0, 1)], {}, "tf32"),
        ("aten.convolution.default", {}, [], {"backends.cudnn.benchmark": True}, "cudnn-choice"),
        ("aten.convolution_backward.default", {"phase": "backward"}, [], {}, "cudnn-choice"),
        ("aten.mm.default", {}, [], {}, "cublas-workspace"),
        ("aten.mm.default", {}, [("CUBLAS_WORKSPACE_CONFIG", 0, 1)], {}, "cublas-workspace"),
        ("c10d.allreduce_.default", {}, [], {}, "collective-order"),
        ("c10d.allreduce_.default", {}, [("NCCL_ALGO", "Ring", "Tree")], {}, "collective-order"),
        ("aten.mm.default", {}, [("gpus", "A", "B")], {}, "gpu-model"),
    ],
)
def test_causes_of_gpus(name, how, headers, header, cause):
    make = wrote(name, device="cuda:0", **how)
    differences = [differ(*each) for each in headers]
    assert named(make, headers=differences, header=header) == [cause]
    # None of them is of a CPU.
    assert cause not in named(wrote(name, **how), headers=differences, header=header)


def test_deterministic_algorithms_have_no_atomics():
    make = wrote("aten.index_add_.default", both={"deterministic": True}, device="cuda:0")
    assert named(make) == []


def test_a_copy_that_was_not_waited_for():
    def make(stream, other):
        x = stream.batch(device="cuda:0")
        arguments = "device=cpu, non_blocking=True"
        stream.op("aten._to_copy.default", x, device="cpu", arguments=arguments, noise=other)

    assert named(make) == ["unsynchronized-copy"]


def test_a_compiled_graph_on_a_gpu():
    def make(stream, other):
        stream.record("graph", "graph 0", stream.batch(device="cuda:0"), noise=other)

    assert named(make) == ["compiled-kernel"]
