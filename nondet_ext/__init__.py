"""Bit-exact perturbation, sums in a chosen order and keyed random numbers for PyTorch tensors, on
CPU and CUDA.

The names below are public, and modules whose names do not start with an underscore.
"""

from nondet_ext._build import build_info as build_info
from nondet_ext._build import installed_version as _installed_version
from nondet_ext._warnings import DegenerateInputWarning as DegenerateInputWarning
from nondet_ext.cka import CKA as CKA
from nondet_ext.cka import linear_cka as linear_cka
from nondet_ext.correlation import pearson as pearson
from nondet_ext.correlation import spearman as spearman
from nondet_ext.fingerprint import fingerprint as fingerprint
from nondet_ext.fingerprint import fingerprints as fingerprints
from nondet_ext.forget_mult import forget_mult as forget_mult
from nondet_ext.forget_mult import qrnn as qrnn
from nondet_ext.ordering import ordered as ordered
from nondet_ext.pairwise import churn as churn
from nondet_ext.pairwise import disagreement as disagreement
from nondet_ext.pairwise import ensemble_delta as ensemble_delta
from nondet_ext.pairwise import error_overlap as error_overlap
from nondet_ext.philox import philox_bits as philox_bits
from nondet_ext.philox import philox_normal as philox_normal
from nondet_ext.philox import philox_permutation as philox_permutation
from nondet_ext.philox import philox_randint as philox_randint
from nondet_ext.philox import philox_uniform as philox_uniform
from nondet_ext.random_flip import FlipRecord as FlipRecord
from nondet_ext.random_flip import random_flip as random_flip
from nondet_ext.ranks import rankdata as rankdata
from nondet_ext.scatter import bincount as bincount
from nondet_ext.scatter import index_add as index_add
from nondet_ext.scatter import index_add_ as index_add_
from nondet_ext.scatter import scatter_add as scatter_add
from nondet_ext.scatter import scatter_add_ as scatter_add_
from nondet_ext.spearman_files import spearman_files as spearman_files
from nondet_ext.summation import accumulate as accumulate
from nondet_ext.summation import dot as dot
from nondet_ext.summation import mean as mean
from nondet_ext.summation import segment_sum as segment_sum
from nondet_ext.summation import sum as sum
from nondet_ext.ulp import flip_bit as flip_bit
from nondet_ext.ulp import flip_ulp as flip_ulp
from nondet_ext.ulp import next_down as next_down
from nondet_ext.ulp import next_up as next_up
from nondet_ext.ulp import spacing as spacing
from nondet_ext.ulp import ulp_distance as ulp_distance

__version__ = _installed_version()
