"""Compare the training loop with a plain loop like that of the paper's code: torchvision
transforms, a DataLoader with two worker processes, torch layers and torch.optim.SGD.
"""

import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

import nondet_ext
from harness import Bench, Contender, repeat, threads_of_torch
from nondet.data import Dataset
from nondet.execute.executors import LocalPool, Serial, keep_memory
from nondet.execute.jobs import run_job
from nondet.models import build_model
from nondet.store import Store
from nondet.studies.catalog import find_study
from nondet.studies.config import RunConfig
from nondet.studies.job import Job
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet.training.images import ImageTraining
from nondet.training.training import Training

BATCH = 512
THREADS = 2
IMAGE_BYTES = 3 * 32 * 32


@pytest.fixture(autouse=True, scope="module")
def _as_a_worker() -> None:
    """Keep freed memory in this process, as the workers of a study do."""
    keep_memory()


def random_images(n: int) -> np.ndarray:
    """Return n random images of CIFAR-10's shape, (n, 32, 32, 3) uint8."""
    words = nondet_ext.philox_bits(n * IMAGE_BYTES // 4, seed=1)
    return words.numpy().view(np.uint8).reshape(n, 32, 32, 3)


class PlainDataset(torch.utils.data.Dataset):
    """A data set of images in an array that are transformed one PIL image at a time, as in
    torchvision.
    """

    def __init__(self, images: np.ndarray, labels: list[int]) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def labels_of(n: int) -> torch.Tensor:
    return torch.arange(n) % 10


def plain_steps(images: np.ndarray, model: nn.Module) -> Iterator[None]:
    """Yield after each step of the plain loop, epoch after epoch."""
    loader = torch.utils.data.DataLoader(
        PlainDataset(images, labels_of(len(images)).tolist()),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
        multiprocessing_context=multiprocessing.get_context("fork"),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss()
    model.train()
    while True:
        for batch, labels in loader:
            optimizer.zero_grad()
            criterion(model(batch), labels).backward()
            optimizer.step()
            yield


def our_steps(images: np.ndarray, model: str, steps: int, **settings: object) -> Callable[[], None]:
    """Return a function that trains so many steps, with the settings of a study's worker."""
    with deterministic(THREADS):
        training = our_training(images, model, **settings)

    def run() -> None:
        with deterministic(THREADS):
            repeat(training.advance, steps)

    return run


def our_training(images: np.ndarray, model: str, **settings: object) -> Training:
    """Return a training with the paper's settings on these images."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    dataset = Dataset(
        name="random",
        classes=10,
        train_images=pixels,
        train_labels=labels_of(len(pixels)),
        test_images=pixels[:100],
        test_labels=labels_of(100),
        mean=torch.full((3,), 127.5),
        std=torch.full((3,), 63.75),
    )
    config = RunConfig(
        dataset="random",
        model=model,
        epochs=10_000,
        batch_size=BATCH,
        lr=0.01,
        schedule="constant",
        warmup_epochs=0,
        crop_padding=4,
        flip=True,
        evaluate_every=10_000,
        threads=THREADS,
        **settings,
    )
    return ImageTraining(config, Seeds(), dataset)


def check_same_arithmetic(model: str, shape: tuple[int, int, int]) -> None:
    """Check that both loops train the same network: equal weights and images give equal logits."""
    ours, plain = (build_model(model, shape, 10, Seeds().key("init")).eval() for _ in range(2))
    x = nondet_ext.philox_normal((4, *shape), seed=2)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [("linear", None), pytest.param("hidden", 4.0, marks=pytest.mark.table)],
)
def test_epoch(bench: Bench, model: str, wanted: float | None) -> None:
    n = 2 * BATCH if bench.smoke else 50_000
    data = random_images(n)
    steps = n // BATCH
    check_same_arithmetic(model, (3, 32, 32))
    moved = n * IMAGE_BYTES
    vendor = our_steps(data, model, steps, lowlevel="off")
    plain = plain_steps(data, build_model(model, (3, 32, 32), 10, Seeds().key("init")))
    with closing(plain), threads_of_torch(THREADS):
        # A round of the plain loop is an epoch, so that no worker loads ahead while ours runs.
        bench.time(
            f"an epoch of {model}, 50,000 x 3 x 32 x 32, augmented",
            Contender("nondet, control", "ours", our_steps(data, model, steps), moved),
            Contender("nondet, control, lowlevel off", "peer", vendor, moved),
            Contender(
                "plain loop, 2 workers",
                "peer",
                partial(repeat, partial(next, plain), steps),
                moved,
                wanted=wanted,
            ),
            rounds=3,
        )


def test_resnet_step(bench: Bench) -> None:
    steps = 1 if bench.smoke else 4
    data = random_images(steps * BATCH)
    moved = steps * BATCH * IMAGE_BYTES
    vendor = our_steps(data, "resnet14", steps, lowlevel="off")
    plain, bare = (
        build_model("resnet14", (3, 32, 32), 10, Seeds().key("init")).train() for _ in range(2)
    )
    loop = plain_steps(data, plain)
    optimizer = torch.optim.SGD(bare.parameters(), lr=0.01, momentum=0.9)
    x = torch.from_numpy(data[:BATCH]).permute(0, 3, 1, 2).contiguous().float() / 255
    y = labels_of(BATCH)

    def bare_step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(bare(x), y).backward()
        optimizer.step()

    contenders = {
        "nondet, control": our_steps(data, "resnet14", steps),
        "nondet, control, lowlevel off": vendor,
        "plain loop's step, 2 workers": partial(repeat, partial(next, loop), steps),
        "the same step on one ready batch": partial(repeat, bare_step, steps),
    }
    with closing(loop), threads_of_torch(THREADS):
        bench.time(
            "a step of ResNet-14, batch 512",
            *(
                Contender(
                    name,
                    "peer" if number else "ours",
                    run,
                    moved,
                    share=float(steps),  # the time is that of one step
                )
                for number, (name, run) in enumerate(contenders.items())
            ),
            rounds=3,
        )


def digits_jobs(threads: int, smoke: bool) -> list[Job]:
    """Return R = 12 runs of every row of the digits study for its hidden layer."""
    study = find_study("quick")
    plan = study.plan(models=("hidden",), runs=2 if smoke else 12, epochs=4 if smoke else None)
    config = replace(plan.configs[0], threads=threads)
    return [job for row in plan.rows_of(config) for job in plan.jobs(config, row)]


def test_digits_study(bench: Bench, tmp_path: Path) -> None:
    stores = (Store(tmp_path / str(number)) for number in itertools.count())

    def run(executor: LocalPool | Serial, threads: int) -> None:
        store = next(stores)
        store.runs.mkdir(parents=True)
        tasks = [(job, frozenset()) for job in digits_jobs(threads, bench.smoke)]
        with executor:
            assert len(list(executor.map(partial(run_job, store, None), tasks))) == len(tasks)

    bench.time(
        "R = 12 runs of the digits study, hidden layer",
        Contender("2 workers, a thread each", "ours", lambda: run(LocalPool(2), 1), 0),
        Contender("one process, 2 threads", "peer", lambda: run(Serial(), 2), 0),
        rounds=1,
    )
