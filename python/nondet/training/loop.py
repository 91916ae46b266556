"""Training a model from the beginning, or from a checkpoint, to the end."""

from collections.abc import Callable, Sequence

from nondet.data import Dataset, TextDataset
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Onset, Seeds
from nondet.training.checkpoint import Checkpoint, CheckpointError, Checkpoints
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.language import LanguageTraining
from nondet.training.result import Result
from nondet.training.start import check_start
from nondet.training.training import Recorder, Training


def make_training(
    config: RunConfig,
    seeds: Seeds,
    dataset: Dataset | TextDataset,
    onset: Onset | None = None,
    recorders: Sequence[Recorder] = (),
) -> Training:
    """Make the training, with no step done, for a data set of images or text; see `train`."""
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
    """Train one model. Equal arguments give equal bits.

    dataset: on `config.device`. onset: the epoch from which each source follows its seed, the first
    by default. start: a checkpoint to start from, such as one that several runs share. checkpoints:
    to save to, and to resume from if there are any. Both must be of the same training up to there,
    on the same data and in an environment that computes the same bits. recorders: their arrays
    become `Result.records` (see nondet.training.recorders); a checkpoint that comes too late for
    one of them is not used. observe: called with the training after every step. None of the last
    three changes a bit.

    Raises DivergedError if a loss or a prediction is no longer finite, ValueError if the data set,
    batch size or perturbation does not fit the configuration; CheckpointError, a ValueError, if
    checkpoints or `start` do not fit.
    """
    with deterministic(config.threads):
        training = make_training(config, seeds, dataset, onset, recorders)
        _begin(training, start, checkpoints, recorders)
        while training.step < training.total_steps:
            training.advance()
            if observe is not None:
                observe(training)
            if checkpoints is not None and checkpoints.due(training.step):
                checkpoints.save(training.state())
        return training.result()


def _begin(
    training: Training,
    start: Checkpoint | None,
    checkpoints: Checkpoints | None,
    recorders: Sequence[Recorder],
) -> None:
    """Restore the newest checkpoint or `start`, the first from which all recorders can record."""
    saved = None
    if checkpoints is not None:
        saved = checkpoints.latest(training.identity, training.environment)
    for state in (saved, start):
        if state is not None and _can_record_from(state, recorders):
            try:
                if state is start:
                    check_start(training, start)
                training.restore(state)
            except CheckpointError:
                raise
            except ValueError as error:
                raise state.unusable(error) from error
            return


def _can_record_from(state: Checkpoint, recorders: Sequence[Recorder]) -> bool:
    """Return True if every recorder has its state in the checkpoint, or can still start there."""
    saved = state.record.get("records", ())
    return all(
        recorder.name in saved
        or recorder.latest_start is None
        or state.step <= recorder.latest_start
        for recorder in recorders
    )
