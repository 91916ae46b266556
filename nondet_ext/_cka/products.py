"""HSIC of all pairs of models with linear kernels, in the cheaper of two forms."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch

from nondet_ext._cka.models import Centred, Features, full_precision, working_dtype

# The longest float32 sums; longer sums add pieces of this length in float64.
FLOAT32_FEATURES = 4096
FLOAT32_EXAMPLES = 4096
FLOAT32_PAIRS = 1024
_PIECE_PRODUCTS = 1 << 20
_AT_ONCE = 1 << 31  # multiplications
BLOCK = 512  # examples or features on a side of a block: matrix products run at full speed


@dataclass
class Hsic:
    """HSIC estimates of models, model i scaled by 2**-exponents[i].

    Attributes:
        cross: (R1, R2), of the pairs.
        own: of each model with itself, (R1 + R2,), or (R,) if the models are compared with each
            other.
        noise: what `own` can be from rounding alone.
        constant: True for models that do not vary.
        exponents: the powers of two that scale the models.
    """

    cross: torch.Tensor
    own: torch.Tensor
    noise: torch.Tensor
    constant: list[bool]
    exponents: list[int]


def hsic_pairs(features: Features, debiased: bool, memory: int, form: str | None = None) -> Hsic:
    """Return the HSIC of all pairs, from Gram matrices (`form` "gram") or cross products of
    features ("features"); by default, from what takes less work.
    """
    n, total, models = features.n, sum(features.widths), len(features.tensors)
    if form is None:
        form = "gram" if n * (total + models**2) < total**2 else "features"
    with full_precision(features.device):
        dtype = working_dtype(features)
        if form == "gram":
            return _by_gram(Centred(features, dtype, keep_below=memory // 2), debiased, memory)
        centred = Centred(features, dtype)
        result, cancels = _by_features(centred, debiased, memory)
        if cancels and centred.dtype != torch.float64:
            centred = Centred(features, torch.float64)
            result, _ = _by_features(centred, debiased, memory)
        return result


def _epsilon(centred: Centred) -> float:
    return 8 * float(torch.finfo(centred.dtype).eps)


def _symmetric(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.triu() + matrix.triu(1).T


# --- Gram matrices ---


def _by_gram(centred: Centred, debiased: bool, memory: int) -> Hsic:
    """Compute sums of products of centred Gram matrices, K[a, b] - u[a] - u[b].

    With double centring the sum over all (a, b) is (n - 1)^2 HSIC_0; with U-centring (Szekely and
    Rizzo 2014, eq. 2.7), which has a zero diagonal, it is n (n - 3) HSIC_1. Either is one shift of
    rows and columns. As the features are centred, K sums to 0 along rows, so the shift only
    corrects for the missing diagonal. The diagonal is never rounded to float32.
    """
    features, squares = centred.features, centred.squares
    n, left = features.n, features.left
    shift = None
    if debiased:
        mean = squares.sum(1, keepdim=True) / (2 * (n - 1))
        shift = (mean - squares) / (n - 2)
    models = len(features.tensors)
    zeros = torch.zeros(models, dtype=torch.float64, device=features.device)
    cross = zeros.new_zeros(left, models - left if features.rectangular else left)
    own = zeros
    for weight, grams in _gram_blocks(centred, shift, memory):
        for parts in _pieces(grams):
            if features.rectangular:
                cross += weight * _products_of(parts[:, :left], parts[:, left:])
                own = own + weight * torch.linalg.vecdot(parts, parts).sum(0, dtype=torch.float64)
            else:
                cross += weight * _products_of(parts, parts)
    if not debiased:
        cross += squares[:left] @ squares[left if features.rectangular else 0 :].T
        own = own + squares.square().sum(1)
    if not features.rectangular:
        cross = _symmetric(cross)
        own = cross.diagonal().clone()
    scale = n * (n - 3) if debiased else (n - 1) ** 2
    noise = (_epsilon(centred) * squares.sum(1)).square() / scale if debiased else zeros
    return Hsic(cross / scale, own / scale, noise, centred.constant, centred.exponents)


def _pieces(grams: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield views (pieces, models, columns) that cover (models, columns). Pieces are short enough
    for float32 sums; a view has few enough of them for their products to take little memory.
    """
    models, columns = grams.shape
    many = max(_PIECE_PRODUCTS // models**2, 1) * FLOAT32_PAIRS
    even = columns // FLOAT32_PAIRS * FLOAT32_PAIRS
    for start in range(0, even, many):
        chunk = grams[:, start : min(start + many, even)]
        yield chunk.unflatten(1, (-1, FLOAT32_PAIRS)).transpose(0, 1)
    if even < columns:
        yield grams[None, :, even:]


def _products_of(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.bmm(left, right.mT).sum(0, dtype=torch.float64)


def _gram_block_sides(centred: Centred, memory: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of a block."""
    features, item = centred.features, centred.dtype.itemsize
    n, widest = features.n, max(features.widths)

    def need(rows: int, columns: int) -> int:
        blocks = (len(features.tensors) * item + 2 * 8) * rows * columns
        return blocks + (0 if centred.is_stored else (rows + columns) * widest * item)

    # Diagonal blocks are computed in full: thin blocks waste less.
    rows = min(max(n // 16, 128), BLOCK, n)
    columns = min(4 * BLOCK, n)
    left = memory - (centred.nbytes if centred.is_stored else 0)
    while need(rows, columns) > left and columns > 1:
        columns = (columns + 1) // 2
        rows = min(rows, columns)
    if need(rows, columns) > left:
        raise ValueError(f"memory must be at least {need(1, 1)} bytes for these features")
    return rows, columns


def _gram_blocks(
    centred: Centred, shift: torch.Tensor | None, memory: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield (weight, (models, rows * columns)): blocks that cover the upper triangle of all models'
    Gram matrices, with 0 on the diagonal. Each tensor is overwritten by the next.
    """
    features = centred.features
    n, models = features.n, len(features.tensors)
    rows, columns = _gram_block_sides(centred, memory)
    space = torch.empty(models * rows * columns, dtype=centred.dtype, device=features.device)
    for top in range(0, n, rows):
        bottom = min(top + rows, n)
        edges = [top, *range(bottom, n, columns), n]
        for start, stop in pairwise(edges):
            grams = space[: models * (bottom - top) * (stop - start)]
            grams = grams.view(models, bottom - top, stop - start)
            for model, gram in enumerate(grams):
                upper = centred.rows(model, top, bottom)
                lower = upper if start == top else centred.rows(model, start, stop)
                _gram(upper, lower, gram)
                if shift is not None:
                    gram -= shift[model, top:bottom, None]
                    gram -= shift[model, None, start:stop]
                if start == top:
                    gram.fill_diagonal_(0)
            yield (1 if start == top else 2), grams.view(models, -1)


def _gram(upper: torch.Tensor, lower: torch.Tensor, out: torch.Tensor) -> None:
    if upper.dtype == torch.float64 or upper.shape[1] <= FLOAT32_FEATURES:
        # Products of very wide features are cut on the CPU, so that Ctrl-C is answered.
        cut = upper.device.type == "cpu"
        rows = max(_AT_ONCE // lower.numel(), 1) if cut else len(upper)
        for begin in range(0, len(upper), rows):
            part = slice(begin, begin + rows)
            torch.mm(upper[part], lower.T, out=out[part])
        return
    total = torch.zeros(out.shape, dtype=torch.float64, device=out.device)
    for a, b in zip(
        upper.split(FLOAT32_FEATURES, dim=1), lower.split(FLOAT32_FEATURES, dim=1), strict=True
    ):
        total += torch.mm(a, b.T)
    out.copy_(total)


# --- features ---


class Product(NamedTuple):
    """Two ranges of columns of all models' features side by side."""

    left: tuple[int, int]
    right: tuple[int, int]


def _by_features(centred: Centred, debiased: bool, memory: int) -> tuple[Hsic, bool]:
    """Compute HSIC from squared cross products of features: (n - 1)^2 HSIC_0 = ||X^T Y||^2
    (Kornblith et al. 2019, section 3), and n (n - 3) HSIC_1 = ||X^T Y||^2 - n/(n-2) sum_a |x_a|^2
    |y_a|^2 + sum_a |x_a|^2 sum_a |y_a|^2 / ((n-1)(n-2)), which is eq. 5 of Song et al. 2012 when
    the features sum to 0.

    Returns:
        The HSIC, and True if the subtraction cancels many digits.
    """
    features = centred.features
    norms = _squared_products(centred, memory)
    result, cancels = hsic_from_norms(
        norms,
        centred.squares @ centred.squares.T,
        centred.squares.sum(1),
        features.n,
        features.left,
        debiased,
        _epsilon(centred),
    )
    result.constant, result.exponents = centred.constant, centred.exponents
    return result, cancels


def hsic_from_norms(
    norms: torch.Tensor,
    products: torch.Tensor,
    sums: torch.Tensor,
    n: int,
    left: int,
    debiased: bool,
    epsilon: float,
) -> tuple[Hsic, bool]:
    """Compute HSIC from norms[i, j] = ||X_i^T X_j||^2, products[i, j] = sum_a |x_ia|^2 |x_ja|^2 and
    sums[i] = sum_a |x_ia|^2 of centred features.

    Returns:
        As :func:`_by_features`.
    """
    models = len(sums)
    noise = torch.zeros_like(sums)
    cancels = False
    if debiased:
        before = norms.diagonal()
        correction = sums.outer(sums) / ((n - 1) * (n - 2)) - products * (n / (n - 2))
        norms = norms + correction
        noise = epsilon * (before + correction.diagonal().abs()) / (n * (n - 3))
        cancels = bool((norms.diagonal() < before / 64).any())
    norms = norms / (n * (n - 3) if debiased else (n - 1) ** 2)
    own = norms.diagonal().clone()
    cross = norms[:left, left:] if left < models else _symmetric(norms)
    return Hsic(cross, own, noise, [False] * models, [0] * models), cancels


def _squared_products(centred: Centred, memory: int) -> torch.Tensor:
    """Return ||X_i^T X_j||^2 of the requested pairs, (models, models)."""
    features, dtype = centred.features, centred.dtype
    n, widths = features.n, features.widths
    ends = torch.tensor([0, *widths], device="cpu").cumsum(0).tolist()
    total, item = ends[-1], dtype.itemsize
    side = min(BLOCK, max(math.isqrt(memory // 64), 1))
    examples = min(n, FLOAT32_EXAMPLES, memory // (4 * item * total))
    if examples < 1:
        raise ValueError(f"memory must be at least {4 * item * total} bytes for these features")
    spare = memory - examples * total * item - side * side * item
    at_once = max(spare // (side * side * 8), 1)
    products = list(_products(features, ends, side))
    result = torch.zeros(len(widths), len(widths), dtype=torch.float64, device=features.device)
    # Columns side by side in memory: matrix products of slices of wider rows are slower.
    spans = sorted({span for product in products for span in product})
    blocks = {
        span: torch.empty(examples, span[1] - span[0], dtype=dtype, device=features.device)
        for span in spans
    }
    space = torch.empty(side * side, dtype=dtype, device=features.device)
    for first in range(0, len(products), at_once):
        batch = products[first : first + at_once]
        sums = [result.new_zeros(a[1] - a[0], b[1] - b[0]) for a, b in batch]
        for start in range(0, n, examples):
            rows = min(examples, n - start)
            for model, (begin, end) in enumerate(pairwise(ends)):
                x = centred.rows(model, start, start + rows)
                for span in spans:
                    low, high = max(begin, span[0]), min(end, span[1])
                    if low < high:
                        part = blocks[span][:rows, low - span[0] : high - span[0]]
                        part.copy_(x[:, low - begin : high - begin])
            for (a, b), product in zip(batch, sums, strict=True):
                part = space[: product.numel()].view(product.shape)
                product += torch.mm(blocks[a][:rows].T, blocks[b][:rows], out=part)
        for (a, b), product in zip(batch, sums, strict=True):
            _add_squares(result, product, a, b, ends)
    return result


def _products(features: Features, ends: list[int], side: int) -> Iterator[Product]:
    def blocks(start: int, stop: int) -> list[tuple[int, int]]:
        return [(i, min(i + side, stop)) for i in range(start, stop, side)]

    def triangle(start: int, stop: int) -> Iterator[Product]:
        parts = blocks(start, stop)
        return (Product(a, b) for i, a in enumerate(parts) for b in parts[i:])

    if not features.rectangular:
        yield from triangle(0, ends[-1])
        return
    middle = ends[features.left]
    yield from (Product(a, b) for a in blocks(0, middle) for b in blocks(middle, ends[-1]))
    for start, stop in pairwise(ends):
        yield from triangle(start, stop)


def _add_squares(
    result: torch.Tensor,
    product: torch.Tensor,
    left: tuple[int, int],
    right: tuple[int, int],
    ends: list[int],
) -> None:
    """Add the sum of each pair of models' squares, and its transpose off the diagonal."""

    def parts(span: tuple[int, int]) -> tuple[slice, torch.Tensor]:
        """Return the models in a span, and (models, columns): 1 where a column belongs to the
        model, else 0.
        """
        bounds = torch.tensor(ends, device=product.device).clamp(*span) - span[0]
        inside = (bounds.diff() > 0).nonzero().reshape(-1).tolist()
        models = slice(inside[0], inside[-1] + 1)
        column = torch.arange(span[1] - span[0], device=product.device)
        begin, end = bounds[:-1][models, None], bounds[1:][models, None]
        return models, ((column >= begin) & (column < end)).to(product.dtype)

    (rows, of_rows), (columns, of_columns) = parts(left), parts(right)
    sums = of_rows @ product.square_() @ of_columns.T
    result[rows, columns] += sums
    if left != right:
        result[columns, rows] += sums.T
