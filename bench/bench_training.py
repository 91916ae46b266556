"""Compare the training loop with a plain loop like that of the paper's code: torchvision
transforms, a DataLoader with two worker processes, torch layers and torch.optim.SGD.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
from harness import Bench, Contender
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


@pytest.fixture(scope="module")
def images() -> Callable[[int], np.ndarray]:
    """Return a function that makes n random images of CIFAR-10's shape, (n, 32, 32, 3) uint8."""

    def draw(n: int) -> np.ndarray:
        words = nondet_ext.philox_bits(n * IMAGE_BYTES // 4, seed=1)
        return words.numpy().view(np.uint8).reshape(n, 32, 32, 3)

    return draw


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


def repeat(step: Callable[[], object], times: int) -> None:
    for _ in range(times):
        step()


def check_same_arithmetic(model: str, shape: tuple[int, int, int]) -> None:
    """Check that both loops train the same network: equal weights and images give equal logits."""
    ours, plain = (build_model(model, shape, 10, Seeds().key("init")).eval() for _ in range(2))
    x = nondet_ext.philox_normal((4, *shape), seed=2)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)


@pytest.mark.parametrize("who", ["ours", "vendor", "plain"])
@pytest.mark.parametrize("model", ["linear", "hidden"])
def test_epoch(bench: Bench, images, model: str, who: str) -> None:
    n = 2 * BATCH if bench.smoke else 50_000
    data = images(n)
    steps = n // BATCH
    check_same_arithmetic(model, (3, 32, 32))
    moved = n * IMAGE_BYTES
    with ExitStack() as stack:
        if who != "plain":
            stack.enter_context(deterministic(THREADS))
            settings = {"lowlevel": "off"} if who == "vendor" else {}
            training = our_training(data, model, **settings)
            one = Contender(
                "nondet, control" if who == "ours" else "nondet, control, lowlevel off",
                "ours" if who == "ours" else "peer",
                partial(repeat, training.advance, steps),
                moved,
            )
        else:
            torch.set_num_threads(THREADS)
            plain = plain_steps(data, build_model(model, (3, 32, 32), 10, Seeds().key("init")))
            stack.callback(plain.close)
            one = Contender(
                "plain loop, 2 workers", "peer", partial(repeat, partial(next, plain), steps), moved
            )
        bench.time(f"an epoch of {model}, 50,000 x 3 x 32 x 32, augmented", one, rounds=3)


@pytest.mark.parametrize("who", ["ours", "vendor", "plain", "bare"])
def test_resnet_step(bench: Bench, images, who: str) -> None:
    steps = 1 if bench.smoke else 4
    data = images((2 if bench.smoke else 40) * BATCH)
    moved = steps * BATCH * IMAGE_BYTES
    torch.set_num_threads(THREADS)
    model = build_model("resnet14", (3, 32, 32), 10, Seeds().key("init")).train()
    share = float(steps)  # so that the time per step is reported
    with ExitStack() as stack:
        if who in ("ours", "vendor"):
            stack.enter_context(deterministic(THREADS))
            settings = {"lowlevel": "off"} if who == "vendor" else {}
            run = our_training(data, "resnet14", **settings).advance
            name = "nondet, control" if who == "ours" else "nondet, control, lowlevel off"
        elif who == "plain":
            plain = plain_steps(data, model)
            stack.callback(plain.close)
            run, name = partial(next, plain), "plain loop's step, 2 workers"
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            x = torch.from_numpy(data[:BATCH]).permute(0, 3, 1, 2).contiguous().float() / 255
            y = labels_of(BATCH)

            def run() -> None:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()

            name = "the same step on one ready batch"
        one = Contender(
            name, "ours" if who == "ours" else "peer", partial(repeat, run, steps), moved, share
        )
        bench.time("a step of ResNet-14, batch 512", one, rounds=3)


def digits_jobs(threads: int, smoke: bool) -> list[Job]:
    """Return R = 12 runs of every row of the digits study for its hidden layer."""
    study = find_study("quick")
    plan = study.plan(models=("hidden",), runs=2 if smoke else 12, epochs=1 if smoke else None)
    config = replace(plan.configs[0], threads=threads)
    return [job for row in plan.rows_of(config) for job in plan.jobs(config, row)]


@pytest.mark.parametrize("who", ["ours", "one process"])
def test_digits_study(bench: Bench, tmp_path: Path, who: str) -> None:
    threads = 1 if who == "ours" else 2
    tasks = [(job, frozenset()) for job in digits_jobs(threads, bench.smoke)]
    store = Store(tmp_path)
    store.runs.mkdir()

    def run() -> None:
        with LocalPool(2) if who == "ours" else Serial() as executor:
            assert len(list(executor.map(partial(run_job, store, None), tasks))) == len(tasks)

    name = "2 workers, a thread each" if who == "ours" else "one process, 2 threads"
    role = "ours" if who == "ours" else "peer"
    bench.time("R = 12 runs of the digits study, hidden layer", Contender(name, role, run, 0), 1)
