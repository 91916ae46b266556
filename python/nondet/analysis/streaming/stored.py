"""Measures of the stored runs of a language model, computed once from their weights.

    DIR/measures/<key>/    measures.safetensors, measures.json, SHA256SUMS

The key is a hash of the runs' addresses and logits: measures of other runs have another key.
"""

import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from nondet.analysis.streaming.measures import Measures, measure
from nondet.models import QRNNLanguageModel
from nondet.store import Store, StoredRun
from nondet.store.folder import OpenFolder, read_folder, write_folder
from nondet.store.formats import format_arrays, format_json, parse_arrays
from nondet.training.determinism import deterministic
from nondet.training.text_evaluation import logit_blocks, representation_blocks

FORMAT = 1
_ARRAYS, _RECORD = "measures.safetensors", "measures.json"
_CKA = "cka."

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
        return len(self.run.records["weights"]["decoder.bias"])

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
        config = self.run.job.config
        assert config.language is not None
        device = config.device if torch.cuda.is_available() else "cpu"
        model = QRNNLanguageModel(config.language, self.types)
        weights = self.run.records["weights"]
        model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
        begin = self.run.end_of_sentence
        tokens = torch.from_numpy(self.test).to(device)
        blocks = compute(model.to(device), tokens, begin)
        while True:
            with deterministic(config.threads):
                block = next(blocks, None)
            if block is None:
                return
            yield block


def stored_measures(
    store: Store,
    runs: Sequence[StoredRun],
    test: np.ndarray,
    *,
    memory: int | str = "2GB",
    progress: Callable[[int, int, str], object] | None = None,
) -> Measures:
    """Return the measures of at least two finished runs of a language model on a test text,
    (tokens,) int64.

    Reads stored ones, or computes them and stores them if the folder can be written. Resumes an
    interrupted computation. Raises as `measure`.
    """
    identity = {
        "format": FORMAT,
        "runs": [(run.job.address, run.record["hashes"]["predictions"]) for run in runs],
    }
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    place = store.measures / key
    kept = _read(place)
    if kept is not None:
        return kept
    tokens = [run.tokens for run in runs if run.tokens is not None]
    with _scratch(store.measures / f"{key}.scratch") as scratch:
        found = measure(
            [StoredModel(run, test) for run in runs],
            test,
            np.stack([one.log_probabilities for one in tokens]),
            np.stack([one.predicted for one in tokens]),
            memory=memory,
            scratch=scratch,
            keys=[run.job.address for run in runs],
            progress=progress,
        )
    with suppress(OSError):  # a folder that cannot be written can be read all the same
        write_folder(place, _format(found), lambda _: True)
    return found


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Create the scratch folder, which stays if an exception leaves; a temporary one if that
    fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        with tempfile.TemporaryDirectory(prefix="nondet-measures-") as name:
            yield Path(name)
        return
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _format(found: Measures) -> dict[str, bytes]:
    """Return the contents of the files, by name."""
    values = vars(found)
    arrays = {name: x for name, x in values.items() if isinstance(x, np.ndarray)}
    arrays |= {f"{_CKA}{tap}": matrix for tap, matrix in found.cka.items()}
    record = {name: x for name, x in values.items() if isinstance(x, str)}
    return {
        _RECORD: format_json({**record, "taps": list(found.cka)}),
        _ARRAYS: format_arrays(arrays),
    }


def _read(place: Path) -> Measures | None:
    """Return the measures in a folder; None if there are none, or damaged ones."""

    def read(folder: OpenFolder) -> Measures:
        files = folder.checksums()
        record = json.loads(folder.read(_RECORD, files[_RECORD]))
        arrays = parse_arrays(folder.read(_ARRAYS, files[_ARRAYS]))
        cka = {tap: arrays.pop(f"{_CKA}{tap}") for tap in record["taps"]}
        values: dict[str, Any] = {**arrays, "plan": record["plan"]}
        return Measures(**values, cka=cka)

    try:
        return read_folder(place, read)
    except (OSError, ValueError, KeyError, TypeError):
        return None
