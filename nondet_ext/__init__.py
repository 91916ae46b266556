"""Bit-exact perturbation and keyed random numbers for PyTorch tensors, on CPU and CUDA.

Every name below is public; modules whose names start with an underscore are not.
"""

from nondet_ext._build import build_info as build_info
from nondet_ext.philox import philox_bits as philox_bits
from nondet_ext.philox import philox_normal as philox_normal
from nondet_ext.philox import philox_permutation as philox_permutation
from nondet_ext.philox import philox_randint as philox_randint
from nondet_ext.philox import philox_uniform as philox_uniform
from nondet_ext.random_flip import FlipRecord as FlipRecord
from nondet_ext.random_flip import random_flip as random_flip
from nondet_ext.ulp import flip_bit as flip_bit
from nondet_ext.ulp import flip_ulp as flip_ulp
from nondet_ext.ulp import next_down as next_down
from nondet_ext.ulp import next_up as next_up
from nondet_ext.ulp import spacing as spacing
from nondet_ext.ulp import ulp_distance as ulp_distance
