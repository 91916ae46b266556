"""Sources of the logits and hidden states of language models that were never trained."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from nondet.analysis.streaming import Measures, measure

MARGIN = 192 << 20  # bytes of the disk that a plan leaves free


class MadeSource:
    """A source of given logits (N, V) and hidden states, in blocks whose sizes repeat. `calls`
    counts the calls of `blocks`; `stop` is called before every block.
    """

    def __init__(
        self,
        logits: np.ndarray,
        hidden: dict[str, np.ndarray],
        sizes: Sequence[int] = (700,),
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.logits, self._hidden, self._sizes, self._stop = logits, hidden, sizes, stop
        self.tokens, self.types = logits.shape
        self.calls = 0

    def blocks(self) -> Iterator[np.ndarray]:
        self.calls += 1
        for rows in self._cut():
            yield self.logits[rows]

    def hidden(self) -> Iterator[dict[str, np.ndarray]]:
        for rows in self._cut():
            yield {tap: x[rows] for tap, x in self._hidden.items()}

    def _cut(self) -> Iterator[slice]:
        begin = 0
        for size in itertools.cycle(self._sizes):
            if begin >= self.tokens:
                return
            self._stop()
            yield slice(begin, begin + size)
            begin += size


class Models:
    """R models on a text, with everything that `measure` takes, in memory.

    logits: (R, N, V) float32, with many ties. hidden: by layer, (R, N, width) float32 each.
    """

    def __init__(
        self, models: int, tokens: int, types: int, seed: int = 0, widths: Sequence[int] = (5, 9)
    ) -> None:
        rng = np.random.default_rng([7, seed])
        shape = models, tokens
        shared = rng.normal(size=(tokens, types))
        values = 2 * shared + rng.normal(size=(*shape, types))
        self.logits = (np.round(values * 8) / 8).astype(np.float32)
        self.hidden = {
            f"layer{width}": (
                rng.normal(size=(tokens, width)) + rng.normal(size=(*shape, width))
            ).astype(np.float32)
            for width in widths
        }
        self.labels = rng.integers(0, types, tokens)
        logarithms = log_softmax(self.logits.astype(np.float64), axis=2)
        self.log_probabilities = np.take_along_axis(logarithms, self.labels[None, :, None], 2)[
            ..., 0
        ]
        self.predicted = self.logits.argmax(axis=2).astype(np.int32)

    def sources(self, sizes: Sequence[int] = (700,)) -> list[MadeSource]:
        return [
            MadeSource(logits, {tap: x[i] for tap, x in self.hidden.items()}, sizes)
            for i, logits in enumerate(self.logits)
        ]

    def disk(self, at_once: int) -> int:
        """Return the bytes of disk that hold this many models with their ranks and the work for
        one.
        """
        values = self.logits[0].size
        hidden = sum(x[0].nbytes for x in self.hidden.values())
        return MARGIN + 4 * values + at_once * (8 * values + hidden)

    def measure(self, scratch: Path, sources: Sequence[MadeSource] = (), **options) -> Measures:
        """Compute the measures in a new folder below `scratch`; fail if the folder remains."""
        folder = scratch / "made" / "here"
        found = measure(
            sources or self.sources(),
            self.labels,
            self.log_probabilities,
            self.predicted,
            scratch=folder,
            **options,
        )
        assert not folder.parent.exists()
        return found


def arrays(found: Measures) -> dict[str, np.ndarray]:
    """Return all matrices and vectors of a result by name."""
    flat = {name: x for name, x in vars(found).items() if isinstance(x, np.ndarray)}
    return flat | {f"cka.{tap}": x for tap, x in found.cka.items()}


def same(found: Measures, expected: Measures, cka: float = 0) -> None:
    """Fail unless all bits are equal; CKA may differ by `cka`."""
    assert arrays(found).keys() == arrays(expected).keys()
    for name, x in arrays(expected).items():
        if name.startswith("cka."):
            np.testing.assert_allclose(arrays(found)[name], x, rtol=0, atol=cka, err_msg=name)
        else:
            assert arrays(found)[name].tobytes() == x.tobytes(), name
