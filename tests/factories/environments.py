"""Environments of this and of other processes, and the bits of trainings in them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from nondet.data import Dataset
from nondet.environment import describe_environment
from nondet.studies.config import RunConfig
from nondet.studies.seeds import Seeds
from nondet.training.determinism import deterministic
from nondet.training.loop import train
from nondet_ext import philox_randint

_FAMILIES = ("ATEN_", "BLIS_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "OPENBLAS_", "TORCH_")


@contextmanager
def _changed(set_value: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    set_value(value)
    try:
        yield
    finally:
        set_value(before)


def _set_mkldnn(enabled: bool) -> None:
    torch.backends.mkldnn.enabled = enabled


SWITCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no mkldnn": lambda: _changed(_set_mkldnn, False, True),
    "flushed denormals": lambda: _changed(torch.set_flush_denormal, True, False),
    "medium precision": lambda: _changed(torch.set_float32_matmul_precision, "medium", "highest"),
}
"""Contexts in which torch may compute other bits, and is as before afterwards."""


def training_bits(threads: int = 1) -> list[str]:
    """Return the hashes of weights of two small models after an epoch."""
    images, labels = _draw(96, 0)
    mean, std = torch.tensor([127.5]), torch.tensor([64.0])
    dataset = Dataset("made-up", 10, images, labels, *_draw(16, 1), mean=mean, std=std)
    hashes = []
    for model in ("hidden", "resnet6-w8"):
        config = RunConfig(
            "made-up", model, 1, 32, 0.05, warmup_epochs=0, lowlevel="off", threads=threads
        )
        hashes.append(train(config, Seeds(), dataset).history[-1].weights_sha256)
    return hashes


def _draw(count: int, stream: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = philox_randint(0, 256, (count, 1, 8, 8), seed=1, stream=stream).to(torch.uint8)
    return images, philox_randint(0, 10, count, seed=2, stream=stream)


def measure(threads: int = 1) -> dict[str, Any]:
    """Return the environment of this process and the bits of its trainings."""
    with deterministic(threads):
        environment = describe_environment("cpu")
    return {"environment": environment, "training": training_bits(threads)}


def print_measures(with_switches: bool) -> None:
    """Print a JSON object of measures: "default", and with_switches one for two threads, one for
    each switch, and "default again" after them.
    """
    measures = {"default": measure()}
    if with_switches:
        measures["two threads"] = measure(threads=2)
        for name, switch in SWITCHES.items():
            with switch():
                measures[name] = measure()
        measures["default again"] = measure()
    print(json.dumps(measures))


def measures_under(variables: Mapping[str, str], with_switches: bool = False) -> dict[str, Any]:
    """Return what `print_measures` prints in a process with these environment variables, and
    without others that steer numerics.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FAMILIES)}
    path = os.pathsep.join(filter(None, sys.path))
    code = f"from factories.environments import print_measures; print_measures({with_switches})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    measures: dict[str, Any] = json.loads(done.stdout)
    return measures
