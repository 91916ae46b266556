"""Environments and switches that choose how torch computes."""

from nondet.tracing.causes.cause import Fit, Strength
from nondet.tracing.causes.looking import (
    base,
    deciding,
    differing_fact,
    named,
    on_cpu,
    setting,
    wrote_differently,
)
from nondet.tracing.compare.evidence import Evidence

_PRODUCTS = (
    *("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "linear", "matmul", "einsum"),
    *("lstm", "gru", "rnn", "convolution", "conv"),
)
"""Parts of the names of operations that multiply matrices."""

PRECISION = ("*float32_matmul_precision", "*fp32_precision")
CAPABILITY = (
    *("*cpu_capability", "*processor", "*cpu_isa", "*ATEN_CPU_CAPABILITY"),
    *("*MKL_ENABLE_INSTRUCTIONS", "*MKL_CBWR", "*ONEDNN_MAX_CPU_ISA", "*DNNL_MAX_CPU_ISA"),
)
ONEDNN = ("*mkldnn.enabled", "*mkldnn.deterministic", "*TORCH_MKLDNN_*", "*ONEDNN_*", "*DNNL_*")
VERSIONS = ("packages.*", "cuda", "cudnn", "python")


def multiplies(name: str) -> bool:
    """Return True for the base name of an operation that multiplies matrices."""
    return any(name == part or part in name.split("_") for part in _PRODUCTS) or "conv" in name


def thread_count(evidence: Evidence) -> Fit | None:
    """Return a fit if an operation on a CPU was split over another number of threads."""
    record = wrote_differently(evidence)
    a, b = evidence.threads
    if record is None or not on_cpu(record) or a is None or b is None or a == b:
        return None
    assert evidence.first is not None
    strength: Strength = "likely" if True in evidence.first.fact("repeats_differ") else "shown"
    return Fit(f"{named(record)} ran on {_threads(a)} in a and on {_threads(b)} in b.", strength)


def onednn(evidence: Evidence) -> Fit | None:
    """Return a fit if oneDNN was on in one run only, or had other settings."""
    return _of_products(evidence, *ONEDNN)


def matmul_precision(evidence: Evidence) -> Fit | None:
    """Return a fit if products of float32 matrices had another precision."""
    record = wrote_differently(evidence)
    if record is None or not on_cpu(record):
        return None
    return _of_products(evidence, *PRECISION)


def cpu_capability(evidence: Evidence) -> Fit | None:
    """Return a fit if torch or its libraries use other instructions."""
    record = wrote_differently(evidence)
    difference = setting(evidence, *CAPABILITY)
    if record is None or difference is None or not on_cpu(record):
        return None
    return Fit(
        f"{_sentence(difference.sentence)}, and {named(record)} computes otherwise.", "shown"
    )


def denormals(evidence: Evidence) -> Fit | None:
    """Return a fit if one run replaces subnormal numbers by zero."""
    record = wrote_differently(evidence)
    if record is None:
        return None
    if (found := differing_fact(evidence, "flush_denormal")) is not None:
        _, a, _ = found
        return Fit(f"Only {'a' if a else 'b'} flushes subnormals at {named(record)}.", "shown")
    difference = setting(evidence, "*flush_denormal*")
    if difference is None:
        return None
    return Fit(f"{_sentence(difference.sentence)}.", "shown")


def versions(evidence: Evidence) -> Fit | None:
    """Return a fit if other versions of torch or of a library compute otherwise."""
    first = evidence.first
    if first is None or first.kind not in ("wrote", "missing", "inserted", "replaced", "arguments"):
        return None
    difference = setting(evidence, *VERSIONS)
    if difference is None or not difference.decides or first.ended is not None:
        return None
    return Fit(f"{_sentence(difference.sentence)}.")


def environment(evidence: Evidence) -> Fit | None:
    """Return a fit if the environments differ in something else that decides bits."""
    if wrote_differently(evidence) is None:
        return None
    if not (differing := deciding(evidence)):
        return None
    return Fit(f"{_sentence(differing[0].sentence)}.", "possible")


def _of_products(evidence: Evidence, *patterns: str) -> Fit | None:
    first = evidence.first
    if first is None or first.kind not in ("wrote", "replaced"):
        return None
    difference = setting(evidence, *patterns)
    if difference is None or not any(multiplies(base(record)) for record in first.records):
        return None
    return Fit(
        f"{_sentence(difference.sentence)}, and {named(first.record)} multiplies matrices.", "shown"
    )


def _sentence(text: str) -> str:
    return text.rstrip(".")


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"
