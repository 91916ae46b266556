"""The low-level source of nondeterminism on any device: layers whose gradients are sums in a given
order.

In a vendor's kernels the order in which partial sums over the batch are added differs from run to
run: split-K matrix products and cuDNN's atomic weight-gradient algorithms add them as they arrive.
Here the vendor's kernels compute the partial sums over chunks of the batch, and
`nondet_ext.accumulate` adds them: in a fixed order, in an order drawn from a seed, in a race, or
exactly.
"""

from nondet.lowlevel.accumulation import Order
from nondet.lowlevel.convert import convert, layers, set_order
from nondet.lowlevel.loss import cross_entropy
from nondet.lowlevel.vendor import vendor_nondeterminism

__all__ = ["Order", "convert", "cross_entropy", "layers", "set_order", "vendor_nondeterminism"]
