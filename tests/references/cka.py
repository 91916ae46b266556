"""CKA from its definitions, in float64 with explicit centring matrices."""

from collections.abc import Sequence

import numpy as np
import torch

ESTIMATORS = ["biased", "debiased"]
LEAST = {"biased": 2, "debiased": 4}


def gram(x: torch.Tensor) -> np.ndarray:
    flat = x.detach().double().numpy().reshape(len(x), -1)
    flat = flat - flat.mean(0)  # changes neither estimator and reduces rounding errors
    return flat @ flat.T


def hsic(k: np.ndarray, m: np.ndarray, estimator: str) -> float:
    """Return HSIC of two Gram matrices: Kornblith et al. 2019, eq. 2 and 3, or Song et al. 2012,
    eq. 5.
    """
    n = len(k)
    if estimator == "biased":
        h = np.eye(n) - np.ones((n, n)) / n
        return np.trace(k @ h @ m @ h) / (n - 1) ** 2
    k, m, one = k - np.diag(np.diag(k)), m - np.diag(np.diag(m)), np.ones(n)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


def cka(
    features: Sequence[torch.Tensor], other: Sequence[torch.Tensor], estimator: str
) -> np.ndarray:
    result = np.empty((len(features), len(other)))
    for i, x in enumerate(features):
        for j, y in enumerate(other):
            k, m = gram(x), gram(y)
            own = hsic(k, k, estimator) * hsic(m, m, estimator)
            result[i, j] = hsic(k, m, estimator) / np.sqrt(own)
    return result


def tolerance(features: Sequence[torch.Tensor], estimator: str) -> float:
    """Bound the difference between two float64 evaluations of any CKA among the features.

    An entry of a Gram matrix K has an error of at most (p + 2) u |x_a| |x_b| (u = 2**-53), so the
    error of K has a Frobenius norm of at most (p + 2) u tr K. Centring K in floating point adds at
    most 2 (n + 2) u tr K. A sum of N^2 products, accumulated by rows, then adds a relative error of
    n u to each of three HSIC. In units of ||K centred||, whose square is HSIC up to a factor that
    cancels, the error of CKA is at most 4 times the largest error of these matrices. Both
    evaluations have this error.
    """
    n = len(features[0])
    scale = n * (n - 3) if estimator == "debiased" else (n - 1) ** 2
    worst = 0.0
    for x in features:
        k = gram(x)
        width = x[0].numel()
        ratio = np.trace(k) / np.sqrt(hsic(k, k, estimator) * scale)
        worst = max(worst, (width + 3 * n + 6) * max(ratio, ratio**2))
    return 8 * worst * 2.0**-53


def draw(
    widths: Sequence[int], n: int, seed: int, dtype: torch.dtype = torch.float64
) -> list[torch.Tensor]:
    """Return features with a shared signal, means other than zero and different scales."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    result = []
    for i, width in enumerate(widths):
        mixing = torch.randn(3, width, generator=generator, dtype=torch.float64)
        noise = torch.randn(n, width, generator=generator, dtype=torch.float64)
        result.append(((signal @ mixing + noise + 3) * 2.5 ** (i - 1)).to(dtype))
    return result
