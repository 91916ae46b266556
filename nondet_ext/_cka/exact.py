"""Moments of features that give the CKA of all examples, independent of the batches."""

import torch

from nondet_ext._cka.models import Features, full_precision, refuse_not_finite, scale_of
from nondet_ext._cka.products import Hsic, hsic_from_norms
from nondet_ext._cka.totals import Totals


class Moments(Totals):
    """float64 sums over examples of x, x y^T, |x_i|^2, |x_i|^2 |x_j|^2 and |x_i|^2 x, where x are
    all models' features side by side, x_i those of model i. Each is scaled by a power of two and
    shifted by the means of the first batch, so that little cancels when the sums are centred.
    """

    TENSORS = ("shift", "sums", "cross", "squares", "square_products", "square_sums")

    def __init__(self, widths: list[int], left: int) -> None:
        super().__init__(widths, left)
        models, total = len(widths), sum(widths)
        self.shift = torch.zeros(total, dtype=torch.float64, device="cpu")
        self.sums = torch.zeros(total, dtype=torch.float64, device="cpu")
        self.cross = torch.zeros(total, total, dtype=torch.float64, device="cpu")
        self.squares = torch.zeros(models, dtype=torch.float64, device="cpu")
        self.square_products = torch.zeros(models, models, dtype=torch.float64, device="cpu")
        self.square_sums = torch.zeros(models, total, dtype=torch.float64, device="cpu")

    @staticmethod
    def nbytes(widths: list[int]) -> int:
        return 8 * (sum(widths) + len(widths) + 2) * (sum(widths) + 1)

    def measure(self, batch: Features, memory: int) -> None:
        refuse_not_finite(batch)

    def add(self, batch: Features, measured: Hsic | None) -> None:
        self.move(batch.device)
        flat = [x.flatten(1).to(torch.float64) for x in batch.tensors]
        if not self.n:
            self.exponents = [scale_of(float(y.abs().max())) for y in flat]
        x = torch.cat(
            [y * 2.0**-exponent for y, exponent in zip(flat, self.exponents, strict=True)], dim=1
        )
        if not self.n:
            # Where a model does not vary, shift by an example: the differences are then exactly 0.
            means = x.mean(0)
            self.shift = torch.where((x == x[:1]).all(0), x[0], means)
        x -= self.shift
        parts = x.split(self.widths, dim=1)
        self.note_variation([bool((part != 0).any()) for part in parts])
        squares = torch.stack([part.square().sum(1) for part in parts])
        with full_precision(batch.device):
            self.n += batch.n
            self.sums += x.sum(0)
            self.cross += x.T @ x
            self.squares += squares.sum(1)
            self.square_products += squares @ squares.T
            self.square_sums += squares @ x

    def hsic(self, debiased: bool) -> Hsic:
        """Return the HSIC of the examples so far, centred. With m the mean of x, |x_i - m_i|^2 is
        |x_i|^2 - 2 m_i x_i + |m_i|^2, and the sums of the products of these terms follow from the
        moments.
        """
        models, n = len(self.widths), self.n
        means = self.sums / n
        owner = torch.repeat_interleave(
            torch.arange(models, device=means.device),
            torch.tensor(self.widths, device=means.device),
        )
        chosen = torch.zeros(models, len(means), dtype=torch.float64, device=means.device)
        chosen[owner, torch.arange(len(owner), device=means.device)] = 1
        with full_precision(means.device):
            norms = chosen @ (self.cross - n * means.outer(means)).square_() @ chosen.T
            placed = chosen * means  # row i: the mean of model i in its columns, else 0
            lengths = placed.square().sum(1)
            mixed = self.square_sums @ placed.T  # [i, j]: m_j . sum |x_i|^2 x_j
            products = (
                self.square_products
                - 2 * (mixed + mixed.T)
                + lengths.outer(self.squares)
                + self.squares.outer(lengths)
                + 4 * (placed @ self.cross @ placed.T)
                - 3 * n * lengths.outer(lengths)
            )
        sums = self.squares - n * lengths
        epsilon = 64 * float(torch.finfo(torch.float64).eps)
        result, _ = hsic_from_norms(norms, products, sums, n, self.left, debiased, epsilon)
        result.constant = self.constant
        result.exponents = self.exponents
        return result
