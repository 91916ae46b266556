"""Hand-made results of trainings, for tests of what stores and reads them."""

from collections.abc import Mapping

import numpy as np

from nondet import metrics
from nondet.store import Store
from nondet.studies.study import Plan
from nondet.training.record_sizes import (
    EPOCH_SERIES,
    INTEGER_SERIES,
    PATH_POINTS,
    PATH_SERIES,
    STEP_SERIES,
)
from nondet.training.result import EpochRecord, Result

LABELS = np.arange(12) % 3
ENVIRONMENT = {"python": "3", "packages": {"torch": "2"}, "git": {"commit": "a", "dirty": False}}


def made_result(
    number: int = 0, records: Mapping[str, Mapping[str, np.ndarray]] | None = None, cycles: int = 0
) -> Result:
    """Return a result of two epochs with logits (12, 3) that depend on the number."""
    generator = np.random.default_rng([5, number])
    logits = generator.normal(size=(12, 3)).astype(np.float32)
    accuracy = float(metrics.accuracy(logits[None], LABELS)[0])
    entropy = float(metrics.cross_entropy(logits[None], LABELS)[0])
    history = [
        EpochRecord(1, 0.1, 2.5, None, None, "ab" * 32),
        EpochRecord(2, 0.0, 0.1 + 0.2, accuracy, entropy, f"{number:064x}"),
    ]
    snapshots = generator.normal(size=(cycles, 12, 3)).astype(np.float32) if cycles else None
    return Result(history, logits, [], snapshots, dict(records or {}))


def made_twin(steps: int = 2) -> dict[str, np.ndarray]:
    """Return the record of a twin over some steps and one evaluated epoch."""
    lengths = dict.fromkeys(STEP_SERIES, steps) | dict.fromkeys(EPOCH_SERIES, 1)
    lengths |= dict.fromkeys(PATH_SERIES, PATH_POINTS) | {"initial_change": 1}
    return {
        name: np.arange(1, length + 1, dtype=np.int64 if name in INTEGER_SERIES else np.float64)
        for name, length in lengths.items()
    }


def fill(store: Store, plan: Plan) -> dict[str, Result]:
    """Store labels and a made result for every run of the plan; return the results by address."""
    made = {}
    with store.opened_for(plan):
        for config in plan.configs:
            store.save_labels(config.dataset, LABELS)
        for number, job in enumerate(plan.tasks()):
            made[job.address] = made_result(number)
            store.save(job, made[job.address], ENVIRONMENT, seconds=1.0 + number)
    return made
