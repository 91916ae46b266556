"""The fingerprint as a torch op: input bytes, header, choice of the kernel. fingerprint.py checks
the arguments.
"""

import torch

from nondet_ext._backend import backend_for
from nondet_ext._op import Op

# These numbers are part of every fingerprint: never change them (docs/numerics.md).
_CODES = {
    "float64": 1,
    "float32": 2,
    "float16": 3,
    "bfloat16": 4,
    "float8_e4m3fn": 5,
    "float8_e5m2": 6,
    "float8_e4m3fnuz": 7,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 9,
    "float4_e2m1fn_x2": 10,
    "int8": 11,
    "int16": 12,
    "int32": 13,
    "int64": 14,
    "uint8": 15,
    "uint16": 16,
    "uint32": 17,
    "uint64": 18,
    "bool": 19,
    "complex32": 20,
    "complex64": 21,
    "complex128": 22,
    "bcomplex32": 23,
}
# Older versions of torch lack some of them.
DTYPE_CODE: dict[torch.dtype, int] = {
    getattr(torch, name): code for name, code in _CODES.items() if hasattr(torch, name)
}


def _fingerprint(x: torch.Tensor) -> torch.Tensor:
    """Return the 64 bits of the fingerprint as a 0-d int64 tensor, without waiting for a CUDA
    device.
    """
    # A lazily conjugated view holds the bits of its base.
    flat = (x.resolve_conj() if x.is_complex() else x).contiguous()
    backend = backend_for(flat)
    arguments = {
        "head": [DTYPE_CODE[x.dtype], x.dim(), *x.shape],
        "x": flat.data_ptr(),
        "bytes": flat.nbytes,
    }
    if not backend.launches:
        bits = backend.run("fingerprint", **arguments)
        signed = bits - 2**64 if bits >= 2**63 else bits
        return torch.full((), signed, dtype=torch.int64, device=x.device)
    out = torch.zeros((), dtype=torch.int64, device=x.device)
    backend.run("fingerprint", **arguments, out=out.data_ptr())
    return out


fingerprint = Op(
    "fingerprint",
    _fingerprint,
    fake=lambda x: torch.empty((), dtype=torch.int64, device=x.device),
)
