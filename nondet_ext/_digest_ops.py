"""The digest as a registered torch op: bytes, head, dispatch. The checks are in digest.py."""

import torch

from nondet_ext._backend import backend_for

# Numbers that the digest holds: never to be changed (docs/numerics.md).
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
# Not every torch has all of them.
DTYPE_CODE: dict[torch.dtype, int] = {
    getattr(torch, name): code for name, code in _CODES.items() if hasattr(torch, name)
}


def run_fingerprint(x: torch.Tensor) -> int | torch.Tensor:
    """The digest: an int from the CPU's kernels; from a launch a 0-d int64 tensor of its 64 bits,
    for which nothing has waited yet.
    """
    # Lazily conjugated or negated views hold the bits of their base.
    flat = x.resolve_conj().resolve_neg().contiguous()
    backend = backend_for(flat)
    arguments = {
        "head": [DTYPE_CODE[x.dtype], x.dim(), *x.shape],
        "x": flat.data_ptr(),
        "bytes": flat.nbytes,
    }
    if not backend.launches:
        digest: int = backend.run("fingerprint", **arguments)
        return digest
    out = torch.zeros((), dtype=torch.int64, device=x.device)
    backend.run("fingerprint", **arguments, out=out.data_ptr())
    return out


@torch.library.custom_op("nondet_ext::fingerprint", mutates_args=())
def fingerprint(x: torch.Tensor) -> torch.Tensor:
    digest = run_fingerprint(x)
    if isinstance(digest, torch.Tensor):
        return digest
    signed = digest - 2**64 if digest >= 2**63 else digest
    return torch.tensor(signed, dtype=torch.int64, device=x.device)


@fingerprint.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty((), dtype=torch.int64, device=x.device)
