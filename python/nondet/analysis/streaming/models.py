"""Stored runs of language models as sources, and checks that they can be."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from nondet.analysis.streaming.similarity import LEAST
from nondet.models import QRNNLanguageModel
from nondet.store import StoredRun, StoreError
from nondet.store.schemas import END_OF_SENTENCE
from nondet.studies.specs import LanguageSpec
from nondet.training.determinism import deterministic
from nondet.training.text_evaluation import logit_blocks, representation_blocks

_BIAS = "decoder.bias"
_DIGITS = 18

Block = TypeVar("Block")


@dataclass(frozen=True, eq=False)
class StoredModel:
    """A finished run as a `Source`: its logits and hidden states on the test text, computed again
    from its weights with the number of threads of its training.

    test: (tokens,) int64.
    """

    run: StoredRun
    test: np.ndarray

    @property
    def tokens(self) -> int:
        """Return the number of tokens."""
        return len(self.test)

    @property
    def types(self) -> int:
        """Return the size of the vocabulary."""
        return len(self.run.records["weights"][_BIAS])

    @property
    def end_of_sentence(self) -> int:
        """Return the type number of the end-of-sentence token. Raises StoreError without one."""
        dataset = self.run.record.get("dataset")
        found = dataset.get(END_OF_SENTENCE) if isinstance(dataset, Mapping) else None
        text = str(found) if type(found) is int else found
        if not isinstance(text, str) or not text.isascii() or not text.isdecimal():
            raise _error(self.run, f"dataset.{END_OF_SENTENCE} must be a number, got {found!r:.60}")
        number = int(text) if len(text) <= _DIGITS else self.types
        if number >= self.types:
            raise _error(
                self.run,
                f"dataset.{END_OF_SENTENCE} must be below {self.types}, the types of its "
                f"vocabulary, got {text:.30}",
            )
        return number

    @property
    def device(self) -> str:
        """Return the device that computes: that of the training, or the CPU without one."""
        return self.run.job.config.device if torch.cuda.is_available() else "cpu"

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the logits, (n, types) float32 each. Warns at the end if they do not have the bits
        of the training, as on another processor.
        """
        digest = hashlib.sha256()
        for logits, _ in self._computed(logit_blocks):
            block = np.ascontiguousarray(logits.cpu().numpy())
            digest.update(block.tobytes())
            yield block
        assert self.run.tokens is not None
        if digest.hexdigest() != self.run.tokens.logits_sha256:
            warnings.warn(
                f"the logits of run {self.run.job.address} computed here are not bit for bit those "
                "of its training: another processor or torch rounds differently",
                stacklevel=2,
            )

    def hidden(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the representations at every tap, (n, width) float32 each, block by block."""
        for found in self._computed(representation_blocks):
            yield {tap: x.cpu().numpy() for tap, x in found.items()}

    def _computed(
        self, compute: Callable[[QRNNLanguageModel, torch.Tensor, int], Iterator[Block]]
    ) -> Iterator[Block]:
        model = QRNNLanguageModel(language_of(self.run), self.types)
        weights = self.run.records["weights"]
        model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
        tokens = torch.from_numpy(self.test).to(self.device)
        blocks = compute(model.to(self.device), tokens, self.end_of_sentence)
        while True:
            with deterministic(self.run.job.config.threads):
                block = next(blocks, None)
            if block is None:
                return
            yield block


def language_of(run: StoredRun) -> LanguageSpec:
    """Return the architecture of a run. Raises StoreError if it is none of a language model."""
    language = run.job.config.language
    if language is None or run.failure is not None or run.tokens is None:
        raise _error(run, "it is no finished run of a language model")
    return language


def taps_of(run: StoredRun) -> tuple[str, ...]:
    """Return the names of the representations of a run's model. Raises as `language_of`."""
    return _model(language_of(run), 1).taps


def check_models(runs: Sequence[StoredRun], test: np.ndarray) -> None:
    """Check that runs are of language models with the same vocabulary, which predict this test
    text, (tokens,) int64, and that their weights are those of their architectures.

    Raises StoreError, which names the run and what is wrong.
    """
    if test.ndim != 1 or test.dtype != np.int64 or len(test) < LEAST:
        raise StoreError(
            f"the test text must be at least {LEAST} tokens, (tokens,) int64, got {test.dtype} "
            f"{list(test.shape)}"
        )
    for run in runs:
        model = StoredModel(run, test)
        _check_weights(run)
        _check_predictions(run, test, model.types)
        model.end_of_sentence  # noqa: B018 - raises
        if model.types != (most := StoredModel(runs[0], test).types):
            raise _error(
                run,
                f"its vocabulary has {model.types} types, that of run {runs[0].job.address} {most}",
            )


def _check_weights(run: StoredRun) -> None:
    if "weights" not in run.records:
        raise _error(run, "its weights are not stored")
    weights = run.records["weights"]
    if _BIAS not in weights or weights[_BIAS].ndim != 1 or not len(weights[_BIAS]):
        raise _error(run, f"its weights lack {_BIAS}, of shape (types,)")
    expected = _model(language_of(run), len(weights[_BIAS])).state_dict()
    if weights.keys() != expected.keys():
        names = ", ".join(repr(name) for name in sorted(weights.keys() ^ expected.keys()))
        raise _error(run, f"its weights are not those of its model, which differ in {names}")
    for name, tensor in expected.items():
        array = weights[name]
        if array.shape != tuple(tensor.shape) or f"torch.{array.dtype}" != str(tensor.dtype):
            raise _error(
                run,
                f"its weights {name} are {array.dtype} {list(array.shape)}, those of its model "
                f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}",
            )
        if not np.isfinite(array).all():
            raise _error(run, f"its weights {name} hold values that are not finite")


def _check_predictions(run: StoredRun, test: np.ndarray, types: int) -> None:
    assert run.tokens is not None
    for name, kind in (("log_probabilities", "float64"), ("predicted", "int32")):
        array = getattr(run.tokens, name)
        if array.dtype != kind or array.shape != test.shape:
            raise _error(
                run,
                f"its {name} are {array.dtype} {list(array.shape)}; for the test text they must be "
                f"{kind} {list(test.shape)}",
            )
    if not np.isfinite(run.tokens.log_probabilities).all():
        raise _error(run, "its log_probabilities hold values that are not finite")
    for name, array in (("the test text", test), ("its predictions", run.tokens.predicted)):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= types:
            raise _error(
                run, f"{name} must lie in [0, {types}), its vocabulary, got {low} to {high}"
            )


def _model(spec: LanguageSpec, types: int) -> QRNNLanguageModel:
    with torch.device("meta"):  # without memory: only names and shapes
        return QRNNLanguageModel(spec, types)


def _error(run: StoredRun, what: str) -> StoreError:
    return StoreError(f"run {run.job.address} cannot be measured: {what}")
