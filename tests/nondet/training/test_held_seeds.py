"""Sources that are held at another constant than 1; one order of the examples for all epochs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nondet.execute.prefixes import prefix_of, shared_prefixes
from nondet.execute.runner import run_study
from nondet.report.text import describe_seeds
from nondet.store import Store
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.row import Row
from nondet.studies.seeds import HELD, SOURCES, Onset, Seeds, held, number_of, own_seed, varied
from nondet.studies.study import Plan
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.loop import train
from nondet.training.recorders import make_recorders

CONFIG = RunConfig(
    "digits", "hidden", epochs=2, batch_size=80, lr=0.1, warmup_epochs=0, crop_padding=1
)
AT_2 = replace(CONFIG, held_seed=2, dropout=0.1)
HELD_AT_2 = Seeds(init=2, shuffle=2, augment=2, stochastic=2)


def hashes(result):
    return [epoch.weights_sha256 for epoch in result.history]


def test_low_level_source_and_bit_are_absent_whatever_the_others_are_held_at():
    assert held() == Seeds()
    assert held(2) == HELD_AT_2
    assert held(0) == Seeds(init=0, shuffle=0, augment=0, stochastic=0)


@pytest.mark.parametrize("constant", [0, 1, 2, 3, 7, 2**32 - 1])
def test_a_source_that_varies_never_has_the_held_value(constant):
    seeds = [own_seed(number, constant) for number in range(20)]
    assert len(set(seeds)) == 20
    assert min(seeds) > HELD
    assert constant not in seeds
    assert seeds == sorted(seeds)
    assert [number_of(seed, constant) for seed in seeds] == list(range(20))
    if constant <= HELD:
        assert seeds == list(range(2, 22))


def test_rows_hold_the_other_sources_at_the_constant():
    config = replace(CONFIG, held_seed=3)
    seeds = [Row("init", ("init",)).job(config, run).seeds for run in range(3)]
    assert [each.init for each in seeds] == [2, 4, 5]
    assert {(each.shuffle, each.augment, each.stochastic) for each in seeds} == {(3, 3, 3)}
    assert {(each.lowlevel, each.bit) for each in seeds} == {(1, 1)}
    assert Row("control").job(config, 1).seeds == held(3)
    crossed = Row("crossed", ("init", "bit"), design="crossed", levels=2)
    found = [crossed.job(config, run).seeds for run in range(4)]
    assert [(each.init, each.bit, each.shuffle) for each in found] == [
        (2, 2, 3),
        (2, 4, 3),
        (4, 2, 3),
        (4, 4, 3),
    ]


def test_another_constant_is_another_run():
    jobs = [Row("init", ("init",)).job(replace(CONFIG, held_seed=c), 5) for c in (1, 2, 3)]
    assert len({job.address for job in jobs}) == 3
    assert [job.identity()["config"].get("held_seed") for job in jobs] == [None, 2, 3]
    for job in jobs:
        assert Job.from_identity(job.identity()) == job


def test_an_onset_of_a_held_source_is_left_out():
    late = Onset(shuffle=1, augment=1)
    job = Job(AT_2, replace(HELD_AT_2, shuffle=5), onset=late)
    assert job.identity()["onset"] == {"shuffle": 1}
    assert Job.from_identity(job.identity()).address == job.address
    wrong = job.identity() | {"onset": {"augment": 1}}
    with pytest.raises(ValueError, match="must be left out, because the augment seed is held"):
        Job.from_identity(wrong)
    # A seed of 1 is a value as any other here.
    assert Job(AT_2, replace(HELD_AT_2, shuffle=1), onset=late).identity()["onset"] == {
        "shuffle": 1
    }


def test_the_constant_is_nothing_but_the_seeds(few_digits):
    same = train(replace(AT_2, held_seed=1), HELD_AT_2, few_digits)
    found = train(AT_2, held(2), few_digits)
    assert hashes(found) == hashes(same)
    assert hashes(train(replace(AT_2, held_seed=1), Seeds(), few_digits)) != hashes(found)


@pytest.mark.parametrize("source", ["shuffle", "augment", "stochastic"])
def test_before_its_onset_a_source_is_held_at_the_constant(few_digits, source):
    control = train(AT_2, held(2), few_digits)
    seeds, onset = varied((source,), 4, 2), Onset(**{source: 1})
    late = train(AT_2, seeds, few_digits, onset=onset)
    assert hashes(late)[0] == hashes(control)[0]
    assert hashes(late)[1] != hashes(control)[1]
    prefix = prefix_of(Job(AT_2, seeds, onset=onset))
    assert prefix is not None
    assert (prefix.job.seeds, prefix.epochs) == (held(2), (1,))
    with deterministic():
        beginning = ImageTraining(AT_2, held(2), few_digits)
        while beginning.epochs_done < 1:
            beginning.advance()
    steps = []
    started = train(
        AT_2,
        seeds,
        few_digits,
        onset=onset,
        start=beginning.state(),
        observe=lambda training: steps.append(training.step),
    )
    assert steps == [5, 6, 7, 8]
    assert hashes(started) == hashes(late)


def test_rows_share_their_beginning():
    rows = [Row(s, (s,), onset=Onset(**{s: 1})) for s in ("shuffle", "augment", "bit")]
    jobs = [row.job(AT_2, run) for row in rows for run in range(3)]
    [prefix] = shared_prefixes(jobs)
    assert prefix.job.seeds == held(2)


def test_the_twin_is_held_at_the_constant(few_digits):
    seeds = varied(("bit",), 0, 2)
    recorders = make_recorders({"twin"}, AT_2, seeds, Onset(), few_digits)
    found = train(AT_2, seeds, few_digits, recorders=recorders).records["twin"]
    control = train(AT_2, held(2), few_digits)
    assert found["epoch_cross_entropy_twin"].tolist() == [
        epoch.test_cross_entropy for epoch in control.history
    ]
    [twin] = make_recorders({"twin"}, AT_2, held(2), Onset(), few_digits)
    same = train(AT_2, held(2), few_digits, recorders=[twin]).records["twin"]
    assert not same["weights_l2"].any()


def test_a_study_at_another_constant_proves_its_control(tmp_path):
    rows = (Row("control", runs=2), Row("init", ("init",)), Row("late", ("shuffle",)))
    config = replace(AT_2, model="linear", dropout=0.0)
    plan, store = Plan("own", "Own?", rows, (config,), runs=2), Store(tmp_path / "study")
    with store.opened_for(plan):
        assert run_study(plan, store) == 0
    jobs = list(store.plan().tasks())
    assert all(store.load(job) is not None for job in jobs)
    assert {job.config.held_seed for job in jobs} == {2}


def test_reports_name_the_constant():
    jobs = [Row("init", ("init",)).job(AT_2, run) for run in range(3)]
    assert describe_seeds(jobs) == "init 3-5, all others 2"
    control = [Row("control").job(AT_2, run) for run in range(3)]
    assert describe_seeds(control) == "all 2, 3 repetitions"
    every = Job(AT_2, Seeds(**dict.fromkeys(SOURCES, 7)))
    assert describe_seeds([every]).endswith(" 7")


@pytest.mark.parametrize(("value", "message"), [(-1, "at least 0"), (2**32, r"below 2\*\*32")])
def test_constants_are_seeds(value, message):
    with pytest.raises(ValueError, match=f"held_seed is {value}; it must be {message}"):
        replace(CONFIG, held_seed=value)


@pytest.mark.parametrize("once", [False, True])
def test_the_order_can_be_drawn_once(few_digits, once):
    config = replace(CONFIG, crop_padding=0, shuffle_once=once, lowlevel="off")
    training = ImageTraining(config, Seeds(shuffle=3), few_digits)
    epochs = [
        torch.cat([training._load_batch(epoch, n, Seeds(shuffle=3))[0] for n in range(4)])
        for epoch in range(2)
    ]
    assert torch.equal(*epochs) == once
    # Both are all the images, in the order of the first epoch.
    ordered = [np.sort(images.flatten(1).numpy(), axis=0) for images in epochs]
    np.testing.assert_array_equal(*ordered)
    usual = ImageTraining(replace(config, shuffle_once=False), Seeds(shuffle=3), few_digits)
    first = torch.cat([usual._load_batch(0, n, Seeds(shuffle=3))[0] for n in range(4)])
    assert torch.equal(epochs[0], first)


def test_one_order_is_another_training(few_digits):
    found = [
        hashes(train(replace(CONFIG, shuffle_once=once), Seeds(), few_digits))
        for once in (False, True)
    ]
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
