"""Digests of the bits that a fixed computation gives here.

Two machines with the same libraries may give other bits: libraries choose kernels by processor,
cache sizes, variables and switches. A list of these is never complete, so the choice is observed in
its effect. Libraries choose by shape too, hence the many small shapes.

Another computation or other values give other digests, so that stored work of earlier versions
counts as work of another environment: change them with the version of the package only.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch.nn import functional as F

from nondet_ext import philox_uniform

Tensors = Iterator[torch.Tensor]

_FLOATS = (torch.float32, torch.float64)
_VALUES = 1 << 17

# (m, k, n) of products of (m, k) and (k, n). Kernels differ for small, square, tall and wide
# matrices, for vectors, for sizes that no vector length divides, and for sums of many terms.
_PRODUCTS = (
    (5, 7, 3),
    (33, 129, 65),
    (40, 16, 70),
    (200, 64, 24),
    (24, 64, 200),
    (8, 1000, 8),
    (6, 4096, 8),
    (1, 784, 10),
    (1, 64, 300),
    (3, 2000, 1),
)
_LARGE_PRODUCT = (48, 784, 64)

# Images (n, channels, height, width), weights, stride, padding and groups of convolutions.
_CONVOLUTIONS = (
    ((4, 1, 8, 8), (8, 1, 3, 3), 1, 1, 1),
    ((2, 16, 9, 9), (16, 16, 3, 3), 1, 1, 1),
    ((2, 3, 8, 8), (16, 3, 5, 5), 2, 2, 1),
    ((2, 24, 9, 9), (24, 1, 3, 3), 1, 1, 24),
)
_CONVOLUTIONS_CHANNELS_LAST = (
    ((2, 3, 9, 9), (16, 3, 3, 3), 1, 1, 1),
    ((2, 16, 10, 10), (32, 16, 3, 3), 2, 1, 1),
    ((2, 128, 4, 4), (64, 128, 3, 3), 1, 1, 1),
    ((2, 24, 7, 7), (40, 24, 1, 1), 1, 0, 1),
    ((2, 24, 9, 9), (24, 1, 3, 3), 1, 1, 24),
    ((2, 24, 9, 9), (24, 6, 3, 3), 1, 1, 4),
)

# Remainders of different numbers of vectors, down to a scalar alone.
_LENGTHS = (1, 7, 31, 1003)


class _Inputs:
    """Hands out values in [-1, 1) on a device, the same ones to every probe."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._position = 0

    def __call__(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Return the next values, in this shape."""
        count = math.prod(shape)
        if self._position + count > _VALUES:
            self._position = 0
        begin = self._position
        self._position += -(-count // 16) * 16  # the next begin at a multiple of 64 bytes
        return _values(self._device, dtype)[begin : begin + count].view(shape)


@functools.cache
def _values(device: str, dtype: torch.dtype) -> torch.Tensor:
    """Return multiples of 2**-23 or 2**-52 in [-1, 1), the same everywhere. All bits of their
    significands are random, so that products and long sums are rounded.
    """
    uniform = philox_uniform(_VALUES, seed=0, stream=0, dtype=dtype, device="cpu")
    return uniform.mul_(2).sub_(1).to(device)


def compute_probe(device: str) -> dict[str, str]:
    """Return digests of the bits of a fixed computation on a device with the present settings, by
    part: 16 hex digits of a SHA-256 each.

    It takes about ten milliseconds of a CPU, more the first time. The caller's settings apply,
    except for the default dtype, autocast and the modes of autograd, which do not count. Nothing is
    changed, and no random number of torch is drawn.
    """
    kind = device.partition(":")[0]
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(kind, enabled=False),
    ):
        return {name: _digest(part(_Inputs(device))) for name, part in _PARTS.items()}


def _digest(tensors: Tensors) -> str:
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().cpu().contiguous().view(-1).numpy().data)
    return sha256.hexdigest()[:16]


# -- parts -------------------------------------------------------------------------------------


def _matmul(inputs: _Inputs) -> Tensors:
    for dtype in _FLOATS:
        for m, k, n in _PRODUCTS:
            yield from _multiply(inputs, dtype, m, k, n)
        yield inputs(4, 17, 33, dtype=dtype) @ inputs(4, 33, 9, dtype=dtype)
        yield inputs(65, 133, dtype=dtype) @ inputs(133, dtype=dtype)
        yield inputs(1333, dtype=dtype) @ inputs(1333, dtype=dtype)

    yield from _multiply(inputs, torch.float32, *_LARGE_PRODUCT)


def _multiply(inputs: _Inputs, dtype: torch.dtype, m: int, k: int, n: int) -> Tensors:
    """Yield the products of a linear layer and of its two gradients."""
    left, right = inputs(m, k, dtype=dtype), inputs(k, n, dtype=dtype)
    yield left @ right
    yield inputs(k, m, dtype=dtype).t() @ right
    weight = inputs(n, k, dtype=dtype)
    yield left @ weight.t()
    yield F.linear(left, weight, inputs(n, dtype=dtype))


def _convolution(inputs: _Inputs) -> Tensors:
    for case in _CONVOLUTIONS:
        yield from _convolve(inputs, torch.float32, torch.contiguous_format, *case)
    for case in _CONVOLUTIONS_CHANNELS_LAST:
        yield from _convolve(inputs, torch.float32, torch.channels_last, *case)
    yield from _convolve(inputs, torch.float64, torch.contiguous_format, *_CONVOLUTIONS[0])


def _convolve(
    inputs: _Inputs,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    image_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: int,
    padding: int,
    groups: int,
) -> Tensors:
    images = inputs(*image_shape, dtype=dtype).contiguous(memory_format=memory_format)
    images = images.detach().requires_grad_()
    weight = inputs(*weight_shape, dtype=dtype).detach().requires_grad_()
    bias = inputs(weight_shape[0], dtype=dtype).detach().requires_grad_()
    result = F.conv2d(images, weight, bias, stride, padding, groups=groups)
    gradient = inputs(*result.shape, dtype=dtype).contiguous(memory_format=memory_format)
    yield result
    yield from torch.autograd.grad(result, (images, weight, bias), gradient)


def _normalization(inputs: _Inputs) -> Tensors:
    for dtype in _FLOATS:
        for memory_format in (torch.contiguous_format, torch.channels_last):
            images = inputs(8, 12, 5, 5, dtype=dtype).contiguous(memory_format=memory_format)
            images = images.detach().requires_grad_()
            scale = inputs(12, dtype=dtype).detach().requires_grad_()
            result = F.batch_norm(images, None, None, scale, None, training=True)
            gradient = inputs(*images.shape, dtype=dtype).contiguous(memory_format=memory_format)
            yield result
            yield from torch.autograd.grad(result, (images, scale), gradient)
        rows = inputs(9, 133, dtype=dtype).detach().requires_grad_()
        result = F.layer_norm(rows, (133,))
        yield result
        yield from torch.autograd.grad(result, rows, inputs(9, 133, dtype=dtype))


def _softmax(inputs: _Inputs) -> Tensors:
    for dtype in _FLOATS:
        for rows, classes in ((9, 133), (7, 1000), (17, 3), (64, 10)):
            logits = inputs(rows, classes, dtype=dtype).mul(8).requires_grad_()
            yield logits.log_softmax(0)
            yield logits.log_softmax(1)
            yield logits.softmax(1)
            yield logits.logsumexp(1)
        labels = torch.arange(rows, device=logits.device) % classes
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        yield loss
        yield from torch.autograd.grad(loss, logits)
        tokens = inputs(2, 4, 9, 16, dtype=dtype)
        yield F.scaled_dot_product_attention(tokens, tokens, tokens)


def _elementwise(inputs: _Inputs) -> Tensors:
    for dtype, length in product(_FLOATS, _LENGTHS):
        values, others = inputs(length, dtype=dtype), inputs(length, dtype=dtype)
        positive = values.abs().add(2**-10)
        wide = values.mul(8)
        for function in _FUNCTIONS:
            yield function(wide)
        for function in _FUNCTIONS_OF_POSITIVE:
            yield function(positive)
        yield positive.pow(2.3)
        yield positive.pow(values)
        yield values / positive
        # The steps of optimizers and averages.
        yield torch.addcdiv(values, others, positive.sqrt().add(1e-8), value=-1e-3)
        yield torch.addcmul(values, others, others, value=1e-3)
        yield values.lerp(others, 0.1)
        yield values.add(others, alpha=0.3)


def _sum(inputs: _Inputs) -> Tensors:
    for dtype in _FLOATS:
        table = inputs(257, 131, dtype=dtype)  # so large that threads share a sum
        for dims in ((0,), (1,), (0, 1)):
            yield table.sum(dims)
            yield table.mean(dims)
            yield table[:20].var(dims)
            yield torch.linalg.vector_norm(table, dim=dims)
        yield table.var()
        images = inputs(8, 12, 9, 9, dtype=dtype)
        for each in (images, images.contiguous(memory_format=torch.channels_last)):
            yield each.sum((0, 2, 3))
            yield each.mean((2, 3))
            yield F.avg_pool2d(each, 3, 1)
        rows = inputs(999, 11, dtype=dtype)
        targets = torch.arange(999, device=rows.device) % 7
        yield torch.zeros(7, 11, dtype=dtype, device=rows.device).index_add(0, targets, rows)


def _subnormal(inputs: _Inputs) -> Tensors:
    for dtype in _FLOATS:
        values = inputs(1003, dtype=dtype)
        smallest = torch.finfo(dtype).smallest_normal
        yield values.mul(smallest)
        yield values.mul(smallest).mul(0.5)
        yield values.mul(smallest).add(smallest).sub(smallest)
        rows = values[:900].view(30, 30)
        yield rows.mul(smallest) @ rows


def _math(inputs: _Inputs) -> Tensors:
    # The C library's functions, with which learning rates are computed, on the CPU.
    arguments = [number / 37 + 0.01 for number in range(200)]
    functions: tuple[Callable[[float], float], ...] = (math.cos, math.exp, math.log, math.tanh)
    results = [function(x) for function in functions for x in arguments]
    results += [x**1.37 for x in arguments]
    yield torch.tensor(results, dtype=torch.float64, device="cpu")


_FUNCTIONS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    torch.exp,
    torch.expm1,
    torch.tanh,
    torch.sigmoid,
    torch.sin,
    torch.cos,
    torch.erf,
    F.gelu,
    F.silu,
    F.softplus,
)

_FUNCTIONS_OF_POSITIVE: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    torch.log,
    torch.log1p,
    torch.sqrt,
    torch.rsqrt,
    torch.reciprocal,
)

_PARTS: dict[str, Callable[[_Inputs], Tensors]] = {
    "matmul": _matmul,
    "convolution": _convolution,
    "normalization": _normalization,
    "softmax": _softmax,
    "elementwise": _elementwise,
    "sum": _sum,
    "subnormal": _subnormal,
    "math": _math,
}
