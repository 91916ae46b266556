"""Small language models that were trained and stored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factories.texts import CONFIG, random_text
from nondet.execute.jobs import dataset_facts, environment_of
from nondet.store import Store, StoredRun
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds
from nondet.training.loop import train
from nondet.training.recorders import make_recorders

CONFIGURATION = replace(CONFIG, epochs=1)
TEXT = random_text(test=1100)
SHORT = random_text(test=60)


def store_runs(root: Path, inits: Sequence[int], text: Any = TEXT) -> list[StoredRun]:
    """Train a model for each seed of the initial weights, store it, and return the stored runs."""
    store, runs = Store(root), []
    store.runs.mkdir(parents=True, exist_ok=True)
    environment = environment_of(("cpu", 1))
    for init in inits:
        seeds = Seeds(init=init)
        recorders = make_recorders({"weights"}, CONFIGURATION, seeds, Onset(), text)
        result = train(CONFIGURATION, seeds, text, recorders=recorders)
        job = Job(CONFIGURATION, seeds)
        store.save(job, result, environment, 1.0, dataset_facts(text))
        run = store.load(job, {"weights"})
        assert run is not None
        runs.append(run)
    return runs
