import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from nondet.studies.config import RunConfig
from nondet.training.schedules import lr_at, snapshot_epochs, steps_in_epoch

COSINE = RunConfig("digits", "linear", epochs=6, batch_size=64, lr=0.4, warmup_epochs=2)


def rates(config, steps_per_epoch=10):
    steps = config.epochs * steps_per_epoch
    return np.array([lr_at(config, step, steps_per_epoch) for step in range(steps)])


def torch_rates(config, make_scheduler, steps_per_epoch=10):
    """Return the learning rates of a torch scheduler that is stepped once per optimizer step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.lr)
    scheduler = make_scheduler(optimizer)
    found = []
    for _ in range(config.epochs * steps_per_epoch):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def test_cosine_by_hand():
    found = [lr_at(COSINE, step, 10) for step in range(61)]
    assert found[0] == 0
    assert found[5] == pytest.approx(0.1)
    assert found[20] == 0.4
    # The cosine counts epochs from 0, so that it takes over below the highest rate.
    assert found[21] == pytest.approx(0.4 * 0.5 * (1 + math.cos(math.pi * 2.1 / 6)))
    assert found[30] == pytest.approx(0.2)
    assert found[40] == pytest.approx(0.1)
    assert found[50] == pytest.approx(0.2 * (1 - math.sqrt(3) / 2))
    assert found[60] == 0


def test_cosine_without_warm_up_is_torchs():
    config = replace(COSINE, warmup_epochs=0)
    expected = torch_rates(config, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=60))
    assert rates(config)[0] == 0.4
    # torch computes it recursively: 60 steps of a few roundings each.
    np.testing.assert_allclose(rates(config), expected, rtol=1e-10, atol=1e-14)


def test_snapshots_without_warm_up_are_torchs_warm_restarts():
    config = replace(COSINE, schedule="snapshots", cycles=3, warmup_epochs=0)
    expected = torch_rates(config, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=20))
    np.testing.assert_allclose(rates(config), expected, rtol=1e-13)
    assert snapshot_epochs(config) == (2, 4, 6)


@pytest.mark.parametrize("steps_per_epoch", [3, 7, 97, 390])
def test_every_cycle_begins_at_the_highest_rate_and_repeats_the_first(steps_per_epoch):
    config = replace(COSINE, epochs=40, schedule="snapshots", cycles=5, warmup_epochs=0)
    cycles = rates(config, steps_per_epoch).reshape(5, 8 * steps_per_epoch)
    assert (cycles == cycles[0]).all()
    assert cycles[0, 0] == config.lr
    assert (np.diff(cycles[0]) < 0).all()


def test_only_the_first_snapshot_cycle_is_warmed_up():
    config = replace(COSINE, schedule="snapshots", cycles=2, warmup_epochs=1)
    found, cold = rates(config), rates(replace(config, warmup_epochs=0))
    np.testing.assert_allclose(found[:11], 0.4 * np.arange(11) / 10)
    assert (found[11:] == cold[11:]).all()


@pytest.mark.parametrize("steps_per_epoch", [7, 97, 98, 390])
def test_every_snapshot_cycle_can_be_warmed_up(steps_per_epoch):
    """As in the paper's code: five cycles, each with the same warm-up, then the cosine."""
    config = replace(
        COSINE, epochs=40, schedule="snapshots", cycles=5, warmup_epochs=3, cycle_warmup=True
    )
    cycles = rates(config, steps_per_epoch).reshape(5, 8 * steps_per_epoch)
    assert (cycles == cycles[0]).all()
    warm = 3 * steps_per_epoch
    np.testing.assert_allclose(cycles[0, : warm + 1], 0.4 * np.arange(warm + 1) / warm)
    first = replace(config, epochs=8, schedule="cosine", cycle_warmup=False)
    assert (cycles[0] == rates(first, steps_per_epoch)).all()


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_without_cycles_their_warm_up_changes_nothing(schedule):
    config = replace(COSINE, schedule=schedule, milestones=(3,), cycles=3)
    assert (rates(replace(config, cycle_warmup=True)) == rates(config)).all()


@pytest.mark.parametrize(
    ("examples", "batch", "dropped", "kept"),
    [(50_000, 512, 97, 98), (60_000, 512, 117, 118), (512, 512, 1, 1), (3, 4, 0, 1), (4, 4, 1, 1)],
)
def test_steps_in_an_epoch_by_hand(examples, batch, dropped, kept):
    config = replace(COSINE, batch_size=batch)
    assert steps_in_epoch(config, examples) == dropped
    assert steps_in_epoch(replace(config, drop_last=False), examples) == kept


def test_one_snapshot_cycle_is_the_cosine():
    assert (rates(replace(COSINE, schedule="snapshots", cycles=1)) == rates(COSINE)).all()


@pytest.mark.parametrize("milestones", [(), (3,), (2, 3, 5)])
def test_step_is_torchs_multistep_after_the_warm_up(milestones):
    config = replace(COSINE, schedule="step", milestones=milestones, decay=0.3)
    expected = torch_rates(
        config,
        lambda o: lr_scheduler.MultiStepLR(o, [10 * epoch for epoch in milestones], gamma=0.3),
    )
    np.testing.assert_allclose(rates(config)[21:], expected[21:], rtol=1e-14)
    np.testing.assert_allclose(rates(config)[:21], 0.4 * np.arange(21) / 20)


def test_constant_is_constant_after_the_warm_up():
    found = rates(replace(COSINE, schedule="constant"))
    np.testing.assert_allclose(found[:20], 0.4 * np.arange(20) / 20)
    assert (found[20:] == 0.4).all()


def test_other_schedules_take_no_snapshots():
    for schedule in ("cosine", "step", "constant"):
        assert snapshot_epochs(replace(COSINE, schedule=schedule)) == ()


def test_bad_steps_are_refused():
    with pytest.raises(ValueError, match="step is -1; it must be at least 0"):
        lr_at(COSINE, -1, 10)
    with pytest.raises(ValueError, match="steps_per_epoch is 0; it must be at least 1"):
        lr_at(COSINE, 0, 0)
