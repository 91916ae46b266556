"""Causes that only a GPU has, recognised by operation and settings."""

from nondet.tracing.causes.cause import Fit
from nondet.tracing.causes.looking import (
    base,
    deciding,
    flag,
    named,
    on_cuda,
    setting,
    settings,
    wrote_differently,
)
from nondet.tracing.causes.settings import PRECISION, multiplies
from nondet.tracing.compare.evidence import Evidence
from nondet.tracing.records import Record

_ATOMIC = {
    *("index_add", "index_add_", "scatter_add", "scatter_add_", "scatter_reduce", "index_reduce"),
    *("scatter_reduce_", "index_reduce_", "put", "put_", "histc", "bincount", "cumsum"),
    *("embedding_dense_backward", "embedding_backward", "_embedding_bag_backward"),
    *("_embedding_bag_dense_backward", "_embedding_bag_per_sample_weights_backward"),
    *("upsample_linear1d_backward", "upsample_bilinear2d_backward", "upsample_nearest2d_backward"),
    *("upsample_bicubic2d_backward", "upsample_trilinear3d_backward"),
    *("_upsample_bilinear2d_aa_backward", "_upsample_bicubic2d_aa_backward"),
    *("grid_sampler_2d_backward", "grid_sampler_3d_backward", "_ctc_loss_backward"),
    *("avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward"),
    *("adaptive_max_pool2d_backward", "max_pool3d_with_indices_backward"),
    *("fractional_max_pool2d_backward", "fractional_max_pool3d_backward"),
    *("max_pool2d_with_indices_backward", "nll_loss2d_forward", "roi_align", "_roi_align_backward"),
    *("reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward"),
    *("replication_pad1d_backward", "replication_pad2d_backward", "replication_pad3d_backward"),
    *("_index_put_impl_", "index_put_", "index_put", "scatter", "scatter_", "index_copy"),
    *("index_copy_", "repeat_interleave", "_segment_reduce_backward"),
}
"""Operations whose kernels add with atomics, or that torch lists as nondeterministic on CUDA."""

_ATTENTION = ("_scaled_dot_product", "_flash_attention", "_efficient_attention", "_cudnn_attention")
_COLLECTIVE = ("c10d.", "_c10d_functional.", "c10d_functional.")
_REDUCES = ("all_reduce", "allreduce", "reduce_scatter", "reduce")


def _wrote_on_cuda(evidence: Evidence) -> Record | None:
    record = wrote_differently(evidence)
    return record if record is not None and on_cuda(record) else None


def float_atomics(evidence: Evidence) -> Fit | None:
    """Return a fit if a kernel adds with atomic instructions, in the order in which blocks come."""
    record = _wrote_on_cuda(evidence)
    if record is None or base(record) not in _ATOMIC or evidence.first is None:
        return None
    if True in evidence.first.fact("deterministic"):
        return None
    return Fit(f"{named(record)} adds to memory on the GPU in an order that nothing fixes.")


def attention_backward(evidence: Evidence) -> Fit | None:
    """Return a fit if the backward of fused attention adds with atomics."""
    record = _wrote_on_cuda(evidence)
    if record is None or not base(record).startswith(_ATTENTION) or "backward" not in record.name:
        return None
    return Fit(f"{named(record)} adds gradients of queries with atomics.")


def tf32(evidence: Evidence) -> Fit | None:
    """Return a fit if one run multiplies float32 matrices in TF32."""
    record = _wrote_on_cuda(evidence)
    patterns = ("*allow_tf32*", "*ALLOW_TF32*", "*TF32_OVERRIDE", *PRECISION)
    difference = setting(evidence, *patterns)
    if record is None or difference is None or not multiplies(base(record)):
        return None
    return Fit(
        f"{difference.sentence.rstrip('.')}, and {named(record)} multiplies matrices.", "shown"
    )


def cudnn_choice(evidence: Evidence) -> Fit | None:
    """Return a fit if cuDNN timed its kernels and chose another one, or chose one that adds with
    atomics.
    """
    record = _wrote_on_cuda(evidence)
    if record is None or "conv" not in base(record) or evidence.first is None:
        return None
    if True in evidence.first.fact("deterministic"):
        return None
    difference = setting(evidence, "*cudnn.*", "*CUDNN_*")
    if difference is not None:
        return Fit(f"{difference.sentence.rstrip('.')}, and {named(record)} uses cuDNN.", "shown")
    if True in map(_is_on, settings(evidence, "*cudnn.benchmark")):
        return Fit(f"`cudnn.benchmark` is on, so {named(record)} takes the kernel that was faster.")
    if all(map(_is_on, settings(evidence, "*cudnn.deterministic"))):
        return None
    if record.phase == "backward":
        return Fit(f"{named(record)} may use a kernel of cuDNN that adds with atomics.")
    return None


def cublas_workspace(evidence: Evidence) -> Fit | None:
    """Return a fit if cuBLAS chose another kernel: streams share its workspace, or that was set
    otherwise.
    """
    record = _wrote_on_cuda(evidence)
    if record is None or not multiplies(base(record)) or "conv" in base(record):
        return None
    difference = setting(evidence, "*CUBLAS*_WORKSPACE_*")
    if difference is not None:
        return Fit(f"{difference.sentence.rstrip('.')}, and {named(record)} uses cuBLAS.", "shown")
    if any(settings(evidence, "*CUBLAS_WORKSPACE_CONFIG")):
        return None
    if deciding(evidence):
        return None
    return Fit(
        f"`CUBLAS_WORKSPACE_CONFIG` is not set, and {named(record)} uses cuBLAS.", "possible"
    )


def unsynchronized_copy(evidence: Evidence) -> Fit | None:
    """Return a fit if a copy from the GPU was read before it was complete."""
    record = wrote_differently(evidence)
    if record is None or base(record) not in ("copy_", "_to_copy"):
        return None
    from_gpu = any(read.type.device.startswith("cuda") for read in record.reads)
    to_cpu = any(write.type.device == "cpu" for write in record.writes)
    if not (from_gpu and to_cpu and flag(record, "non_blocking")):
        return None
    return Fit(f"{named(record)} does not wait for the copy (`non_blocking=True`).", "shown")


def collective(evidence: Evidence) -> Fit | None:
    """Return a fit if a reduction over ranks took another algorithm or ring."""
    record = _wrote_on_cuda(evidence)
    if record is None or not record.name.startswith(_COLLECTIVE):
        return None
    if not any(part in record.name for part in _REDUCES):
        return None
    difference = setting(evidence, "*NCCL_*")
    if difference is not None:
        return Fit(
            f"{difference.sentence.rstrip('.')}, and {named(record)} adds over ranks.", "shown"
        )
    if any("rank " in each.role for each in evidence.elsewhere):
        return None  # what another rank gave may differ
    if all(settings(evidence, "*NCCL_ALGO")):
        return None
    return Fit(f"{named(record)} adds over ranks, and `NCCL_ALGO` leaves the order to NCCL.")


def compiled_kernel(evidence: Evidence) -> Fit | None:
    """Return a fit if a compiled graph on a GPU ran kernels that were chosen by time."""
    record = _wrote_on_cuda(evidence)
    if record is None or record.kind != "graph":
        return None
    return Fit(f"{named(record)} ran compiled kernels, whose tiles may be chosen by time.")


def another_gpu(evidence: Evidence) -> Fit | None:
    """Return a fit if the runs used other GPUs."""
    record = _wrote_on_cuda(evidence)
    difference = setting(evidence, "gpus")
    if record is None or difference is None:
        return None
    return Fit(f"{difference.sentence.rstrip('.')}.", "shown")


def _is_on(value: object) -> bool:
    return str(value) == "True"
