"""What the recorder of `nondet trace` does at every operation, compiled.

`nondet.tracing.record` is built on these classes; nothing else should be. Their C++ is in
`csrc/bindings/cpu/trace_*`.
"""

from nondet_ext._fingerprint_ops import DTYPE_CODE as DTYPE_CODE
from nondet_ext._native import _C

Memory = _C.trace.Memory
"""A storage that was seen."""

ModuleCall = _C.trace.ModuleCall
"""A call of a module that is under way."""

Places = _C.trace.Places
"""Finds where a record stands in the source and the modules."""

Position = _C.trace.Position
"""How far a stream is."""

Value = _C.trace.Value
"""What a tensor held at some time."""

Watch = _C.trace.Watch
"""The base class of the mode that torch calls at every operation."""

fingerprint_small = _C.trace.fingerprint_small
alignment_of = _C.trace.alignment_of
mark = _C.trace.mark
