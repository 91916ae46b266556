"""What `nondet selftest` checks: that this machine computes the bits that the specification
promises, on every path through its processor and on its GPU.
"""
