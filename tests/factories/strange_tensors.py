"""Tensors that few functions are written for, made from plain ones."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

Make = Callable[[torch.Tensor], Any]


def _rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(len(x), -1)


def _uninitialised(x: torch.Tensor) -> torch.Tensor:
    kind: Any = torch.nn.parameter.UninitializedParameter
    if not x.is_floating_point():
        kind = torch.nn.parameter.UninitializedBuffer
    made: torch.Tensor = kind(dtype=x.dtype)
    return made


def _out_of(transform: Callable[..., Any], x: torch.Tensor) -> torch.Tensor:
    """Return what a transform of torch.func makes of a tensor inside."""
    kept = []

    def keep(inside: torch.Tensor) -> torch.Tensor:
        kept.append(inside)
        return inside.sum()

    transform(keep)(x)
    return kept[0]


def _nested(x: torch.Tensor, layout: torch.layout) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([x.reshape(-1), x.reshape(-1)[1:]], layout=layout)


def _compressed(x: torch.Tensor, layout: torch.layout) -> torch.Tensor:
    block = (1, 1) if layout in (torch.sparse_bsr, torch.sparse_bsc) else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _rows(x).to_sparse(layout=layout, blocksize=block)


def _quantized(x: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.quint8)


SAME: dict[str, Make] = {
    "lazy negation": lambda x: torch._neg_view(-x),
    "parameter": lambda x: torch.nn.Parameter(x, requires_grad=False),
}
"""The same values, otherwise held."""

STRANGE: dict[str, Make] = {
    "lazy conjugate": lambda x: x.to(torch.complex64).conj(),
    "coo": lambda x: x.to_sparse(),
    "csr": lambda x: _compressed(x, torch.sparse_csr),
    "csc": lambda x: _compressed(x, torch.sparse_csc),
    "bsr": lambda x: _compressed(x, torch.sparse_bsr),
    "bsc": lambda x: _compressed(x, torch.sparse_bsc),
    "mkldnn": lambda x: (x if x.is_floating_point() else x.float()).to_mkldnn(),
    "nested": lambda x: _nested(x, torch.strided),
    "jagged": lambda x: _nested(x, torch.jagged),
    "quantized": _quantized,
    "meta": lambda x: x.to("meta"),
    "fake": lambda x: FakeTensorMode().from_tensor(x),
    "uninitialised": _uninitialised,
    "out of vmap": lambda x: _out_of(torch.func.vmap, x[None]),
    "out of grad": lambda x: _out_of(torch.func.grad, x if x.is_floating_point() else x.double()),
    "complex": lambda x: x.to(torch.complex64),
    "float8": lambda x: x.to(torch.float8_e5m2),
    "bool": lambda x: x.to(torch.bool),
    "uint16": lambda x: x.to(torch.uint16),
    "uint32": lambda x: x.to(torch.uint32),
    "uint64": lambda x: x.to(torch.uint64),
    "list": lambda x: x.tolist(),
    "text": lambda x: "0",
}
"""Other values, which may be refused."""
