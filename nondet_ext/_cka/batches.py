"""Sums of the HSIC estimates of minibatches."""

import torch

from nondet_ext._cka.models import Features
from nondet_ext._cka.products import Hsic, hsic_pairs
from nondet_ext._cka.totals import Totals


class BatchSums(Totals):
    """Sums of HSIC_1 over batches, each weighted by its number of examples.

    The expectation of HSIC_1 does not depend on the batch size, so every weighting is unbiased; its
    variance falls as 1 / examples (it is a U-statistic, Song et al. 2012, section 3), so these
    weights are the best. Equal batches give the plain mean.
    """

    TENSORS = ("cross", "own", "noise")

    def __init__(self, widths: list[int], left: int) -> None:
        super().__init__(widths, left)
        models = len(widths)
        self.cross = torch.zeros(left, models - left or left, dtype=torch.float64, device="cpu")
        self.own = torch.zeros(models, dtype=torch.float64, device="cpu")
        self.noise = torch.zeros(models, dtype=torch.float64, device="cpu")

    def measure(self, batch: Features, memory: int) -> Hsic:
        return hsic_pairs(batch, True, memory)

    def add(self, batch: Features, measured: Hsic | None) -> None:
        assert measured is not None
        examples = batch.n
        self.move(batch.device)
        if not self.n:
            self.exponents = measured.exponents
        # HSIC of a pair is quadratic in the scale of either model.
        steps = [2.0 * (b - a) for a, b in zip(self.exponents, measured.exponents, strict=True)]
        scale = torch.tensor(steps, dtype=torch.float64, device=batch.device).exp2()
        left, right = scale[: self.left], scale[self.left % len(scale) :]
        self.n += examples
        self.cross += examples * (measured.cross * left.outer(right))
        self.own += examples * (measured.own * scale.square())
        self.noise += examples * (measured.noise * scale.square())
        self.note_variation([not constant for constant in measured.constant])

    def hsic(self, debiased: bool) -> Hsic:
        n = self.n  # always debiased: CKA refuses biased batches
        return Hsic(self.cross / n, self.own / n, self.noise / n, self.constant, self.exponents)
