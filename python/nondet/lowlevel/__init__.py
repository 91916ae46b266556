"""The low-level source on any device: layers whose gradients are added up in an order that is an
argument.

What differs from run to run in a vendor's kernels is the order in which partial sums over the batch
meet: split-K matrix products and cuDNN's atomic weight-gradient algorithms add them as they come.
Here the partial sums are the vendor's, over chunks of the batch, and `nondet_ext.accumulate` adds
them: in a fixed order, in one that a seed draws, in a race, or exactly.
"""

from nondet.lowlevel.accumulation import Order
from nondet.lowlevel.convert import convert, layers, set_order
from nondet.lowlevel.loss import cross_entropy
from nondet.lowlevel.vendor import vendor_nondeterminism

__all__ = ["Order", "convert", "cross_entropy", "layers", "set_order", "vendor_nondeterminism"]
