"""A training from its beginning, or a state, to its end."""

from collections.abc import Callable, Sequence

from nondet.data import Dataset, TextDataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Onset, Seeds
from nondet.training.checkpoint import Checkpoint, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.language import LanguageTraining
from nondet.training.result import Result
from nondet.training.training import Recorder, Training


def make_training(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset | TextDataset,
    onset: Onset | None = None,
    recorders: Sequence[Recorder] = (),
) -> Training:
    """The training, nothing of it done yet, that goes with a data set; see `train`."""
    if isinstance(dataset, TextDataset):
        return LanguageTraining(config, seeds, dataset, onset, recorders)
    return ImageTraining(config, seeds, dataset, onset, recorders)


def train(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset | TextDataset,
    *,
    onset: Onset | None = None,
    start: Checkpoint | None = None,
    checkpoints: Checkpoints | None = None,
    observe: Callable[[Training], None] | None = None,
    recorders: Sequence[Recorder] = (),
) -> Result:
    """Trains one model. Equal arguments give equal bits.

    dataset lies on `config.device`. onset: from which epoch on each source follows its seed; from
    the first if not given. start: a state to begin from, as of a shared beginning. checkpoints:
    where to leave states and whence to resume; they change no bit, nor do recorders (see
    nondet.training.recorders), which leave `Result.records`: where a state comes too late for one
    of them, the training begins before it. `observe(training)` may look at the training after every
    step. Raises DivergedError when a loss or a prediction is no longer finite; ValueError where
    data set, batch size, perturbation or `start` do not fit.
    """
    with deterministic(config.threads):
        training = make_training(config, seeds, dataset, onset, recorders)
        saved = None if checkpoints is None else checkpoints.latest(training.identity)
        for state in (saved, start):
            if state is not None and _in_time(state, recorders):
                training.restore(state)
                break
        while training.step < training.total_steps:
            training.advance()
            if observe is not None:
                observe(training)
            if checkpoints is not None and checkpoints.due(training.step):
                checkpoints.save(training.state())
        return training.result()


def _in_time(state: Checkpoint, recorders: Sequence[Recorder]) -> bool:
    """Whether every recorder has its part in a state or can begin there."""
    missing = [one for one in recorders if one.name not in state.record.get("records", ())]
    return all(one.begins_by is None or state.step <= one.begins_by for one in missing)
