"""Check that a training may start from a state of another one: both are the same up to there."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from nondet.schemas import check
from nondet.studies.seeds import HELD, Onset, Seeds, effective
from nondet.training.checkpoint import (
    Checkpoint,
    OtherEnvironmentError,
    other_data,
    other_environment,
)
from nondet.training.checkpoint_files import Record
from nondet.training.training import Training


def check_start(training: Training, start: Checkpoint) -> None:
    """Raise CheckpointError unless the state `start` is that of a training on the same data, with
    the same configuration, whose seeds have had the same effect so far; OtherEnvironmentError if
    only its environment differs. What has had no effect so far may differ: the perturbation before
    it is made, seeds before their onset, the low-level order while its source is held.

    Raises SchemaError, a ValueError, for a record of another shape.
    """
    record = check(Record, dict(start.record))
    if (text := other_data(record, training.identity)) is not None:
        raise start.unusable(text)
    own = training.perturbation_step
    mine = _beginning(training, training.identity, start.step, own is not None and own < start.step)
    try:
        perturbed = bool(record["perturbations"])
        theirs = _beginning(training, record["identity"], start.step, perturbed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise start.unusable(f"has no identity that can be read: {error!r}") from error
    if mine != theirs:
        names = [name for name in (mine | theirs) if mine.get(name) != theirs.get(name)]
        raise start.unusable(f"belongs to another training: other {', '.join(names)}")
    if (text := other_environment(record, training.environment)) is not None:
        raise OtherEnvironmentError(str(start.unusable(text)))


def _beginning(
    training: Training, identity: Mapping[str, Any], step: int, perturbed: bool
) -> dict[str, Any]:
    """Return, by name, what has decided the first steps of a training with this identity.

    perturbed: whether the perturbation was made in these steps.
    """
    seeds, onset = Seeds(**identity["seeds"]), Onset(**identity["onset"])
    epochs = bisect_right(training.epoch_ends, step - 1) + 1 if step > 0 else 0
    found = {"format": identity["format"], **identity["config"], "init": seeds.init}
    constant = identity["config"].get("held_seed", HELD)
    in_epochs = [effective(seeds, onset, epoch, constant) for epoch in range(epochs)]
    for source in ("shuffle", "augment", "stochastic", "lowlevel"):
        found[f"{source} seed"] = [getattr(each, source) for each in in_epochs]
    if set(found["lowlevel seed"]) <= {HELD} and found["lowlevel"] in ("seeded", "atomic"):
        found["lowlevel"] = "seeded"
    if perturbed:
        found["bit seed"] = seeds.bit
    else:
        del found["perturbation"]
    return found
