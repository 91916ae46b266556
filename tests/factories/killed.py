"""Kill a training with SIGKILL at random moments, then let it finish; print JSON for the test.

The training is killed at least KILLS times and until it has resumed from BEGINNINGS different
steps. Children are forked from this process, which has imported everything and computes with one
thread, so starting one takes almost no time.

    python killed.py FOLDER KILLS BEGINNINGS
"""

import hashlib
import json
import os
import signal
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

from nondet.data import load_dataset
from nondet.environment import describe_environment
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import Onset, Seeds
from nondet.training.checkpoint import Checkpoints, latest
from nondet.training.determinism import deterministic
from nondet.training.loop import train
from nondet.training.training import Training
from nondet_ext import philox_uniform

CONFIG = RunConfig(
    dataset="digits",
    model="linear",
    epochs=4,
    batch_size=64,
    lr=0.2,
    warmup_epochs=1,
    dropout=0.2,
    crop_padding=1,
    averaging="ema",
    lowlevel="seeded",
)
JOB = Job(
    CONFIG,
    Seeds(init=2, shuffle=2, augment=2, stochastic=2, lowlevel=2, bit=2),
    onset=Onset(shuffle=1, bit=2),
)


def compute(checkpoints: Checkpoints | None, log: Path) -> None:
    """Train or resume to the end. Log the first step, the step of each save, and a hash of all bits
    of the result.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*words: object) -> None:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())

    class LoggedCheckpoints(Checkpoints):
        def latest(self, identity, environment):
            checkpoint = super().latest(identity, environment)
            note("from", 0 if checkpoint is None else checkpoint.step)
            return checkpoint

        def save(self, checkpoint):
            super().save(checkpoint)
            note("saved", checkpoint.step)

    if checkpoints is not None:
        checkpoints = LoggedCheckpoints(checkpoints.folder, every_steps=1)
    last: list[Training] = []
    dataset = load_dataset(CONFIG.dataset)
    result = train(
        CONFIG,
        JOB.seeds,
        dataset,
        onset=JOB.onset,
        checkpoints=checkpoints,
        observe=lambda training: last.__setitem__(slice(None), [training]),
    )
    end = last[0].state()
    digest = hashlib.sha256(result.logits.tobytes())
    for name, tensor in sorted(end.tensors.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    digest.update(json.dumps(end.record, sort_keys=True).encode())
    note("end", digest.hexdigest())


def fork(checkpoints: Checkpoints, log: Path) -> int:
    """Train in a new process; return its process ID."""
    number = os.fork()
    if number == 0:
        code = 1
        try:
            compute(checkpoints, log)
            code = 0
        finally:
            os._exit(code)
    return number


def values(log: Path, word: str) -> list[str]:
    """Return the second word of each line of the log that begins with `word`."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [line[1] for line in lines if line[0] == word]


def main(folder: Path, kills: int, beginnings: int) -> None:
    warnings.simplefilter("error")  # fail if a checkpoint is damaged, which gives a warning
    plain = folder / "plain.log"
    compute(None, plain)
    assert len(list(Path("/proc/self/task").iterdir())) == 1  # fork copies only one thread

    timed, log = Checkpoints(folder / "timed"), folder / "timed.log"
    begin = time.monotonic()
    assert os.waitpid(fork(timed, log), 0)[1] == 0
    whole = time.monotonic() - begin

    # The moments are pseudo-random, but what a process does at one depends on its speed.
    moments = philox_uniform(kills, seed=5, counter=(0,)).tolist()
    log = folder / "killed.log"
    log.touch()
    checkpoints = Checkpoints(folder / "killed")
    done = 0
    longest = 2 * whole / kills  # all pauses together last about as long as the whole training
    deadline = time.monotonic() + 60
    while done < kills or (
        len(set(values(log, "from"))) < beginnings and time.monotonic() < deadline
    ):
        number = fork(checkpoints, log)
        time.sleep(longest * moments[done % kills])
        os.kill(number, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(number, 0)[1]):
            done += 1
            if done % kills == 0:
                longest *= 2  # the processes have become slower, so kills come too early
        else:
            checkpoints.clear()  # it finished before the kill; start another training
            longest /= 2
    assert os.waitpid(fork(checkpoints, log), 0)[1] == 0
    job = replace(JOB, data=load_dataset(CONFIG.dataset).sha256)
    with deterministic(CONFIG.threads):
        environment = describe_environment(CONFIG.device)
    left = latest(checkpoints.folder, job.identity(), environment)
    assert left is not None
    print(
        json.dumps(
            {
                "plain": values(plain, "end"),
                "killed": values(log, "end"),
                "log": log.read_text().splitlines(),
                "last": left.step,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
