"""A digest of a tensor, to compare tensors bit for bit across runs, machines and devices."""

import torch

from nondet_ext import _check
from nondet_ext import _fingerprint_ops as ops


def fingerprint(x: torch.Tensor) -> int:
    """Return a 64-bit digest of a tensor's bits, dtype and shape.

    Every bit and its position count: -0.0 differs from 0.0, NaNs differ by their payloads; a
    permutation, another dtype or another shape changes the digest. Strides and device do not: the
    tensor is read in row-major order, and copied first if it is not contiguous.

    Args:
        x: any shape and strides; every dtype of whole bytes (floats, integers, bool, complex,
            float8, packed float4).

    Returns:
        An int in [0, 2**64), the same on every device. On CUDA the call waits for the device.

    Raises:
        TypeError: `x` is no tensor, is sparse, quantized or nested, has a dtype of less than a
            byte, or is on the meta device.

    It detects accidents, not attacks: two tensors not made to collide have equal digests with
    probability about 2**-63, but collisions can be constructed. docs/numerics.md has the
    specification and the proofs. Source: NH of UMAC (Black et al., CRYPTO 1999).

    Compare ``torch.hash_tensor``, an XOR of the elements: permutations, x and -x of even length, or
    constants of two even lengths have the same hash.
    """
    _check.dense(
        "x",
        x,
        ops.DTYPE_CODE,
        "be a dense tensor of a float, integer, bool or complex dtype of whole bytes",
    )
    _check.with_values("x", x)
    bits = x.detach() if x.requires_grad else x
    return int(ops.fingerprint(bits)) % 2**64
