"""Operators that never add floating-point numbers in an order of their own.

``nondet_ext.ordered`` reports every operator that is not listed here.
"""

import functools
from collections.abc import Callable

import torch

from nondet_ext._ordered.elementwise import exactness_of, tensors_in

# From the reason to packets, or single overloads, of aten.
HARMLESS = {
    "copies: every output element is one input element, or a constant": """
        alias_copy as_strided_copy as_strided_scatter block_diag cat channel_shuffle clone
        constant_pad_nd copy copy_ detach diag_embed diagonal_backward diagonal_copy
        diagonal_scatter expand_copy fill fill_ flip im2col index_copy index_copy_ index_fill
        index_fill_ lift lift_fresh lift_fresh_copy masked_scatter masked_scatter_ narrow_copy
        native_dropout native_dropout_backward permute_copy pixel_shuffle pixel_unshuffle
        reflection_pad1d reflection_pad2d reflection_pad3d repeat replication_pad1d
        replication_pad2d replication_pad3d roll rot90 scatter.src scatter.value scatter_.src
        scatter_.value select_backward select_scatter slice_backward slice_scatter
        split_with_sizes_copy squeeze_copy stack t_copy to_mkldnn transpose_copy tril tril_ triu
        triu_ unbind_copy unfold_copy unsqueeze_copy view_copy zero zero_ _chunk_cat _fused_dropout
        _masked_scale _pin_memory _reshape_copy _to_copy _to_dense _unsafe_view complex""",
    "gathers: every output element is one input element": """
        embedding gather index index_select masked_select max_unpool2d max_unpool3d take
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _unsafe_index
        _unsafe_masked_index _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d repeat_interleave""",
    "comparisons and selections": """
        adaptive_max_pool2d adaptive_max_pool3d all allclose amax amin aminmax any argmax argmin
        bucketize cummax cummin equal fractional_max_pool2d fractional_max_pool3d isin is_same_size
        kthvalue max max_pool2d_with_indices max_pool3d_with_indices median min mode nanmedian
        nonzero nonzero_static count_nonzero searchsorted sort topk unique_consecutive unique_dim
        _unique _unique2 where""",
    "factories and metadata": """
        arange as_strided_ empty empty_like empty_permuted empty_strided eye full full_like
        new_empty new_empty_strided new_full new_ones new_zeros ones ones_like resize resize_
        resize_as resize_as_ scalar_tensor set_ squeeze_ swapaxes_ swapdims_ t_ transpose_
        tril_indices triu_indices unsqueeze_ zeros zeros_like linspace logspace
        is_pinned _efficientzerotensor _has_same_storage_numel _assert_async _assert_scalar
        _assert_tensor_metadata
        _functional_assert_async _local_scalar_dense _print _resize_output _resize_output_
        shallow_copy_data_ sym_constrain_range sym_constrain_range_for_size""",
    "random draws, element by element": """
        bernoulli bernoulli_ cauchy cauchy_ exponential exponential_ geometric geometric_ log_normal
        log_normal_ normal normal_ normal_functional poisson rand rand_like randint randint_like
        randn randn_like randperm random random_ rrelu_with_noise rrelu_with_noise_
        rrelu_with_noise_functional uniform uniform_""",
    "single products": "nll_loss_backward nll_loss2d_backward quantize_per_tensor",
}

# This package's sums take an order of their own; the profiler's marks compute nothing.
_OTHER_NAMESPACES = ("nondet_ext", "profiler")


def _no_accumulate(*args: object, **kwargs: object) -> bool:
    """Return True if index_put or put writes without adding. Which of several writes to one element
    wins is torch's choice, but no sum.
    """
    accumulate = kwargs.get("accumulate", args[3] if len(args) > 3 else False)
    return not accumulate


def _compares(*args: object, **kwargs: object) -> bool:
    return kwargs.get("reduce", args[4] if len(args) > 4 else None) in ("amax", "amin")


def _windows_apart(
    grad_output: object, x: object, kernel: list[int], *rest: object, **kwargs: object
) -> bool:
    """Return True if every input element of a max pooling lies in at most one window."""
    stride, _, dilation = (*rest, *([1],) * 3)[:3]
    strides = list(stride) or list(kernel)  # type: ignore[call-overload]
    dilations = list(dilation)  # type: ignore[call-overload]
    wide = max(len(kernel), len(strides), len(dilations))
    sizes, strides, dilations = (
        each * wide if len(each) == 1 else each for each in (list(kernel), strides, dilations)
    )
    return all(s >= (k - 1) * d + 1 for k, s, d in zip(sizes, strides, dilations, strict=True))


# From packets to functions that return True if a call with these arguments is harmless.
SOMETIMES: dict[str, Callable[..., bool]] = {
    "index_put": _no_accumulate,
    "index_put_": _no_accumulate,
    "_index_put_impl_": _no_accumulate,
    "_unsafe_index_put": _no_accumulate,
    "put": _no_accumulate,
    "put_": _no_accumulate,
    "scatter_reduce": _compares,
    "scatter_reduce_": _compares,
    "index_reduce": _compares,
    "index_reduce_": _compares,
    "max_pool2d_with_indices_backward": _windows_apart,
    "max_pool3d_with_indices_backward": _windows_apart,
}

_NAMES = frozenset(name for names in HARMLESS.values() for name in names.split())


def is_harmless(
    op: torch._ops.OpOverload, args: tuple[object, ...], kwargs: dict[str, object]
) -> bool:
    """Return True if a call of `op` adds no floating-point numbers, whatever their values."""
    tensors = list(tensors_in(args, kwargs))
    if not all(map(is_strided, tensors)):
        return False  # copying a sparse tensor may add its repeated entries
    exactness = exactness_of(op)
    if exactness is not None:
        return exactness.treats_all_alike(args, kwargs, tensors)
    sometimes = SOMETIMES.get(op.overloadpacket.__name__)
    if sometimes is not None and op.namespace == "aten":
        return sometimes(*args, **kwargs)
    return _is_always_harmless(op)


@functools.cache
def _is_always_harmless(op: torch._ops.OpOverload) -> bool:
    if op.namespace in _OTHER_NAMESPACES:
        return True
    if _is_view(op):
        return True
    if op.namespace != "aten":
        return False
    packet = op.overloadpacket.__name__.removeprefix("_foreach_")
    overload = op._overloadname.removesuffix("_out")
    return bool({packet, f"{packet}.{overload}"} & _NAMES)


def _is_view(op: torch._ops.OpOverload) -> bool:
    returns = op._schema.returns
    return bool(returns) and all(
        each.alias_info is not None and not each.alias_info.is_write for each in returns
    )


def is_strided(x: torch.Tensor) -> bool:
    """Return True if the tensor is one array. A nested tensor, a list of arrays, calls its layout
    strided.
    """
    return x.layout == torch.strided and not x.is_nested


def holds_floats(*trees: object) -> bool:
    """Return True if a tensor has floating-point, complex or quantized elements in memory."""
    return any(
        (each.is_floating_point() or each.is_complex() or each.is_quantized)
        and each.device.type != "meta"
        for each in tensors_in(*trees)
    )
