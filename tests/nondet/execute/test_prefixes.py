"""Sources may be held until an epoch; runs share the training up to there."""

import shutil
from dataclasses import replace

import pytest

from nondet.data import load_dataset
from nondet.execute import jobs as jobs_module
from nondet.execute.jobs import run_job, train_prefix
from nondet.execute.prefixes import Prefix, prefix_of, shared_prefixes
from nondet.store import MixedStudyError, Store
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds, effective
from nondet.studies.specs import PerturbationSpec
from nondet.training import loop
from nondet.training import training as training_module
from nondet.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    OtherEnvironmentError,
    discard,
    load,
    read_record,
    save,
)
from nondet.training.determinism import deterministic
from nondet.training.training import Training

ALL = Seeds(shuffle=7, augment=7, stochastic=7, lowlevel=7, bit=7)


@pytest.fixture
def config(config):
    return replace(config, epochs=4, dropout=0.2)


def bits(result):
    return [epoch.weights_sha256 for epoch in result.history], result.logits.tobytes()


def late(epoch):
    return Onset(**dict.fromkeys(vars(Onset()), epoch))


def test_onset_at_epoch_0_changes_nothing(config, digits):
    plain = loop.train(config, ALL, digits)
    assert bits(loop.train(config, ALL, digits, onset=late(0))) == bits(plain)


def test_onset_after_the_last_epoch_gives_the_control(config, digits):
    control = loop.train(config, Seeds(), digits)
    never = loop.train(config, ALL, digits, onset=late(4))
    assert bits(never) == bits(control)
    assert never.perturbations == []


@pytest.mark.parametrize("source", vars(Onset()))
def test_weights_differ_from_the_epoch_of_the_onset_on(config, digits, source):
    control = loop.train(config, Seeds(), digits)
    onset, seeds = Onset(**{source: 2}), Seeds(**{source: 7})
    run = loop.train(config, seeds, digits, onset=onset)
    agree = [a == b for a, b in zip(bits(control)[0], bits(run)[0], strict=True)]
    assert agree == [True, True, False, False]


def test_sources_may_have_different_onsets():
    seeds = Seeds(init=2, shuffle=3, bit=4)
    onset = Onset(shuffle=2, bit=5)
    assert effective(seeds, onset, 1) == Seeds(init=2)
    assert effective(seeds, onset, 2) == Seeds(init=2, shuffle=3)
    assert effective(seeds, onset, 5) == seeds


def sweep(config, epochs=(1, 2, 3), runs=3):
    """Return runs of shuffling and of one bit with several onsets, as in the paper's Fig. 2."""
    jobs = [Job(config, Seeds(shuffle=2), onset=Onset(shuffle=0))]
    for epoch in epochs:
        late_shuffles = [Seeds(shuffle=2 + run) for run in range(runs)]
        jobs += [Job(config, seeds, onset=Onset(shuffle=epoch)) for seeds in late_shuffles]
        other = replace(config, perturbation=PerturbationSpec(target="momentum"))
        jobs.append(Job(other, Seeds(bit=2), onset=Onset(bit=epoch)))
    return jobs


def test_a_sweep_shares_one_prefix(config):
    [prefix] = shared_prefixes(sweep(config))
    assert prefix.job == Job(config, Seeds())
    assert prefix.epochs == (1, 2, 3)


def test_sources_without_onset_vary_in_the_prefix(config):
    job = Job(config, Seeds(init=5, shuffle=5, bit=5), onset=Onset(shuffle=3, bit=2))
    prefix = prefix_of(job)
    assert prefix.job == Job(config, Seeds(init=5))
    assert prefix.epochs == (2,)
    assert prefix_of(Job(config, Seeds(init=5), onset=Onset(shuffle=3))) is None
    race = Job(replace(config, lowlevel="atomic"), Seeds(lowlevel=5), onset=Onset(lowlevel=3))
    assert prefix_of(race).job == Job(config, Seeds())


def test_prefixes_are_of_the_data_of_their_jobs(config):
    jobs = [replace(job, data=data) for data in ("ab", "cd") for job in sweep(config)]
    assert [prefix.job.data for prefix in shared_prefixes(jobs)] == ["ab", "cd"]


def test_shared_prefixes_are_trained_once_and_change_no_bit(config, digits, tmp_path, monkeypatch):
    jobs = sweep(config)
    expected = {
        job: bits(loop.train(job.config, job.seeds, digits, onset=job.onset)) for job in jobs
    }

    steps = 0
    advance = Training.advance

    def counted(self):
        nonlocal steps
        steps += 1
        advance(self)

    monkeypatch.setattr(Training, "advance", counted)
    store = Store(tmp_path)
    store.runs.mkdir()
    for prefix in shared_prefixes(jobs):
        train_prefix(store, None, prefix)
        train_prefix(store, None, prefix)  # trains nothing
    for job in jobs:
        run_job(store, None, (job, frozenset()))
    for job in jobs:
        run = store.load(job)
        assert (run.weight_hashes, run.logits.tobytes()) == expected[job]
    # The prefix (3 epochs), then the rest of each run: 4 epochs without onset, and four runs each
    # with 3, 2 and 1 epochs.
    assert steps == 21 * (3 + 4 + 4 * (3 + 2 + 1))


def test_a_prefix_resumes_from_saved_epochs(config, digits, tmp_path):
    store = Store(tmp_path)
    [early], [whole] = shared_prefixes(sweep(config, (1, 2))), shared_prefixes(sweep(config))
    train_prefix(store, None, early)
    (early.folder(store.prefixes, 1)).rename(tmp_path / "gone")
    train_prefix(store, None, whole)
    assert all(whole.folder(store.prefixes, epoch).is_dir() for epoch in (1, 2, 3))


@pytest.fixture
def shared(config, tmp_path):
    """A store with a trained prefix, the prefix, and a run that starts from its second epoch."""
    store, jobs = (
        Store(tmp_path),
        [replace(job, data=digest_of_digits()) for job in sweep(config, (1, 2))],
    )
    store.runs.mkdir()
    [prefix] = shared_prefixes(jobs)
    train_prefix(store, None, prefix)
    return store, prefix, next(job for job in jobs if job.onset.shuffle == 2)


def digest_of_digits():
    return load_dataset("digits").sha256


def elsewhere(monkeypatch):
    """Describe the environment of everything from now on as another one."""
    for module in (jobs_module, training_module):
        describe = module.describe_environment

        def other(device, describe=describe):
            return describe(device) | {"torch_cpu_capability": "NEON"}

        monkeypatch.setattr(module, "describe_environment", other)


def test_states_name_what_they_belong_to(shared):
    store, prefix, _ = shared
    for number, path in enumerate(sorted(store.prefixes.glob("*/*/*.json")), 1):
        record = read_record(path)
        assert record["identity"] == prefix.job.identity()
        assert record["identity"]["data"] == digest_of_digits()
        assert record["environment"]["torch_threads"] == 1
        assert len(record["history"]) == number


def test_prefixes_of_another_environment_are_refused(shared, monkeypatch):
    store, prefix, job = shared
    elsewhere(monkeypatch)
    for use in (
        lambda: train_prefix(store, None, prefix),
        lambda: run_job(store, None, (job, frozenset())),
    ):
        with pytest.raises(OtherEnvironmentError) as caught:
            use()
        assert " there, NEON here" in str(caught.value)
        assert str(store.prefixes) in str(caught.value)
        assert "--restart-runs" in str(caught.value)
    assert store.load(job) is None


def test_checkpoints_of_another_environment_are_refused(config, tmp_path, monkeypatch):
    store, job = Store(tmp_path), Job(config, Seeds(init=2), data=digest_of_digits())
    store.runs.mkdir()
    monkeypatch.setattr(Checkpoints, "due", lambda self, step: True)
    monkeypatch.setattr(Checkpoints, "clear", lambda self: None)
    run_job(store, None, (job, frozenset()))
    folder = store.checkpoints / job.address
    assert read_record(max(folder.glob("*.json")))["identity"] == job.identity()
    for path in store.runs.iterdir():
        shutil.rmtree(path)
    elsewhere(monkeypatch)
    with pytest.raises(OtherEnvironmentError) as caught:
        run_job(store, None, (job, frozenset()))
    for part in (" there, NEON here", f"Remove the checkpoints in {folder}", "--restart-runs"):
        assert part in str(caught.value)
    assert store.load(job) is None
    discard(folder)
    run_job(store, None, (job, frozenset()))
    assert store.load(job).record["environment"]["torch_cpu_capability"] == "NEON"


@pytest.mark.parametrize(("source", "place"), [(1, 2), (2, 1)])
def test_states_of_another_epoch_are_refused(shared, source, place):
    store, prefix, job = shared
    shutil.rmtree(prefix.folder(store.prefixes, place))
    prefix.folder(store.prefixes, source).rename(prefix.folder(store.prefixes, place))
    job = replace(job, onset=Onset(shuffle=place))
    for use in (
        lambda: train_prefix(store, None, prefix),
        lambda: run_job(store, None, (job, frozenset())),
    ):
        with pytest.raises(CheckpointError, match=f"epoch-0000{place}/.* after {source} whole"):
            use()


def test_states_within_an_epoch_are_refused(shared, config, digits):
    """A state of the held training, a few steps past the epoch from which the run differs."""
    store, prefix, job = shared
    training = loop.make_training(prefix.job.config, prefix.job.seeds, digits)
    with deterministic(1):
        training.restore(load(prefix.folder(store.prefixes, 2) / "step-00000042.json"))
        for _ in range(3):
            training.advance()
    folder = prefix.folder(store.prefixes, 2)
    discard(folder)
    save(folder, training.state())
    with pytest.raises(CheckpointError, match=r"epoch-00002/step-00000045\.json: .*shuffle seed"):
        run_job(store, None, (job, frozenset()))
    with pytest.raises(CheckpointError, match="step 45"):
        train_prefix(store, None, prefix)


def test_data_that_have_changed_since_the_plan_are_refused(shared, monkeypatch, digits):
    store, prefix, job = shared
    changed = replace(digits, train_images=digits.train_images.flip(0))
    monkeypatch.setattr(jobs_module, "load_dataset", lambda name: changed)
    for use in (
        lambda: train_prefix(store, None, prefix),
        lambda: run_job(store, None, (job, frozenset())),
    ):
        with pytest.raises(MixedStudyError) as caught:
            use()
        assert f"{digest_of_digits()[:16]}... when the run was planned" in str(caught.value)
        assert f"{changed.sha256[:16]}... here" in str(caught.value)
    # Without a digest in the job, the state itself says that it is of other data.
    old = prefix.folder(store.prefixes, 2)
    plain = Prefix(replace(prefix.job, data=""), (2,))
    shutil.copytree(old, plain.folder(store.prefixes, 2))
    with pytest.raises(CheckpointError, match="other data"):
        train_prefix(store, None, plain)


def test_addresses_depend_on_onsets_of_sources_that_vary(config):
    seeds = Seeds(shuffle=2)
    address = Job(config, seeds).address
    assert Job(config, seeds, onset=Onset(shuffle=1)).address != address
    assert Job(config, seeds, onset=Onset(augment=1)).address == address
    assert Job(config, seeds).identity()["onset"] == {}


def test_invalid_onsets_are_an_error(config):
    with pytest.raises(ValueError, match="onset of bit is -1"):
        Onset(bit=-1)
    with pytest.raises(TypeError, match=r"onset of shuffle is 1\.5"):
        Onset(shuffle=1.5)
    with pytest.raises(ValueError, match="onset of augment is epoch 5"):
        Job(config, Seeds(), onset=Onset(augment=5))
