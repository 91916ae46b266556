"""A study's folder in format 2, which did not name the data and had no checksums in its JSON."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.numpy

from factories.results import ENVIRONMENT, LABELS, made_result
from nondet.studies.study import Plan
from nondet.training.result import EpochRecord

NAMES = ("epoch", "learning_rate", "train_loss", "test_accuracy", "test_cross_entropy")


def write_former_study(root: Path, plan: Plan, finished: int | None = None) -> None:
    """Write made results for the first runs of a plan, for all by default, one as crashed."""
    root.mkdir()
    (root / "study.json").write_text(json.dumps({"format": 2, **plan.to_json()}, indent=2))
    name = hashlib.sha256(b"digits").hexdigest()[:8]
    _write_folder(
        root / "labels" / f"digits-{name}",
        {
            "labels.json": json.dumps({"dataset": "digits", "notes": []}).encode(),
            "labels.safetensors": safetensors.numpy.save({"labels": LABELS.astype(np.int64)}),
        },
    )
    for number, job in enumerate(list(plan.tasks())[:finished]):
        identity = {**job.identity(), "format": 2}
        del identity["data"]
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        address = hashlib.sha256(canonical.encode()).hexdigest()[:32]
        crashed = number == 3
        failure = {"reason": "killed", "epoch": 0, "step": 0, "crashed": True} if crashed else None
        result = made_result(number)
        digest = hashlib.sha256(result.logits.tobytes()).hexdigest()
        hashes = {"weights": result.history[-1].weights_sha256, "predictions": digest}
        record = {
            "format": 2,
            "job": identity,
            "environment": ENVIRONMENT,
            "perturbations": [],
            "seconds": 1.0 + number,
            "failure": failure,
            **({} if crashed else {"hashes": hashes}),
        }
        files = {
            "run.json": json.dumps(record, indent=2).encode(),
            "history.csv": _history([] if crashed else result.history),
        }
        if not crashed:
            files["predictions.safetensors"] = safetensors.numpy.save({"logits": result.logits})
        _write_folder(root / "runs" / address, files)


def _history(history: list[EpochRecord]) -> bytes:
    lines = [",".join((*NAMES, "weights_sha256"))]
    for epoch in map(asdict, history):
        cells = [*(epoch[name] for name in NAMES), epoch["weights_sha256"]]
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    return ("\n".join(lines) + "\n").encode()


def _write_folder(place: Path, files: dict[str, bytes]) -> None:
    place.mkdir(parents=True)
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
    for name, data in files.items():
        (place / name).write_bytes(data)
    (place / "SHA256SUMS").write_text("".join(sums))
