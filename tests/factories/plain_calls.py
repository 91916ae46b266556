"""One call of every op through the public functions."""

import torch

import nondet_ext as ext
from nondet_ext._roots import square_root

X, LABELS = torch.randn(3, 8, 5), torch.arange(8) % 5
ROWS, OFFSETS = torch.tensor([2, 0, 2]), torch.tensor([0, 1, 3])
PLACES = torch.randint(0, 3, (3, 8, 5))


def _zeros(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(3, 8, 5, dtype=dtype)


def _undo() -> torch.Tensor:
    param = X.clone()
    ext.random_flip(param, 1).undo()
    return param


CALLS = {
    "sum": lambda: ext.sum(X, 1),
    "sum_out": lambda: ext.sum(X, 0, out=torch.empty(8, 5)),
    "mean": lambda: ext.mean(X),
    "dot": lambda: ext.dot(X[0, 0], X[1, 1]),
    "segment_sum": lambda: ext.segment_sum(X, OFFSETS),
    "index_add": lambda: ext.index_add(X, 0, ROWS, X),
    "index_add_": lambda: ext.index_add_(_zeros(), 0, ROWS, X),
    "scatter_add": lambda: ext.scatter_add(X, 0, PLACES, X),
    "scatter_add_": lambda: ext.scatter_add_(_zeros(), 0, PLACES, X),
    "next_up": lambda: ext.next_up(X),
    "next_down": lambda: ext.next_down(X),
    "neighbor_out": lambda: ext.next_up(X, out=_zeros()),
    "spacing": lambda: ext.spacing(X),
    "ulp_distance": lambda: ext.ulp_distance(X, X + 1),
    "ulp_distance_out": lambda: ext.ulp_distance(X, X + 1, out=_zeros(torch.int64)),
    "flip_ulp": lambda: ext.flip_ulp(_zeros(), [3, -1]),
    "flip_bit": lambda: ext.flip_bit(_zeros(), 3, 7),
    "philox_bits": lambda: ext.philox_bits((3,), seed=1).view(torch.int32),
    "philox_uniform": lambda: ext.philox_uniform((3,), seed=1),
    "philox_normal": lambda: ext.philox_normal((3,), seed=1),
    "philox_randint": lambda: ext.philox_randint(0, 9, (3,), seed=1),
    "philox_order": lambda: ext.philox_permutation(5, seed=1),
    "square_root": lambda: square_root(X.square()),
    "fingerprint": lambda: torch.tensor(ext.fingerprint(X) - 2**63),
    "ranks": lambda: ext.rankdata(X),
    "spearman": lambda: ext.spearman(X),
    "pearson": lambda: ext.pearson(X),
    "pair_agreements": lambda: ext.disagreement(X.argmax(-1)),
    "pair_correct_": lambda: ext.ensemble_delta(X, LABELS),
    "pair_logs_": lambda: ext.ensemble_delta(X, LABELS, metric="cross_entropy"),
    "bins": lambda: ext.bincount(ROWS, X[0, 0, :3]),
    "class_count": lambda: ext.churn(X.argmax(-1), LABELS),
    "churn": lambda: ext.churn(X.argmax(-1), LABELS, 5),
    "error_overlap": lambda: ext.error_overlap(X.argmax(-1), LABELS),
    "refuse_bad_examples": lambda: ext.ensemble_delta(X, LABELS, lambda x, y: x.mean((1, 2))),
    "linear_cka": lambda: ext.linear_cka(X),
    "distinct_indices": lambda: ext.random_flip(_zeros(), 1).indices,
    "undo_flip": _undo,
    "forget_mult": lambda: ext.forget_mult(X, X.sigmoid())[0],
}
