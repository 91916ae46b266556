"""Made-up files of scores: tables, and logs as evaluation harnesses write them."""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DATE = "2025-03-01T10-00-00.123456"


def table(path: Path, header: str, *lines: str, ending: str = "\n") -> Path:
    """Write a CSV file of these lines and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((ending.join([header, *lines]) + ending).encode())
    return path


def sample(document: int | str, filter_name: str = "none", **metrics: Any) -> dict[str, Any]:
    """Return a sample as lm-evaluation-harness 0.4.8 logs it."""
    return {
        "doc_id": document,
        "doc": {"question": f"question {document}", "subject": f"subject {hash_of(document)[0]}"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": "question", "arg_1": {"until": ["\n"]}}},
        "resps": [["the answer is 4"]],
        "filtered_resps": ["4"],
        "filter": filter_name,
        "metrics": list(metrics),
        "doc_hash": hash_of(document),
        "prompt_hash": hash_of(f"prompt {document}"),
        "target_hash": hash_of("4"),
        **metrics,
    }


def hash_of(value: object) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


def write_samples(
    folder: Path, task: str, samples: Sequence[Mapping[str, Any]], date: str = DATE
) -> Path:
    """Write a file of samples and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"samples_{task}_{date}.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in samples))
    return path


def write_results(
    folder: Path, results: Mapping[str, Any], date: str = DATE, **entries: Any
) -> Path:
    """Write a file of results and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"results_{date}.json"
    record = {"results": results, "configs": {}, "versions": dict.fromkeys(results, 1), **entries}
    path.write_text(json.dumps(record, indent=2))
    return path


def harness_runs(
    folder: Path, accuracy: float, runs: int, documents: int = 200, seed: int = 0
) -> Path:
    """Write the samples of several runs of a made-up model and return their folder.

    Documents are of unequal difficulty, the same for every model; a run answers each by chance.
    """
    difficulty = np.random.default_rng(1).normal(0, 1.5, documents)
    generator = np.random.default_rng([2, seed])
    for run in range(runs):
        offset = np.log(accuracy / (1 - accuracy)) * 1.4 + generator.normal(0, 0.05)
        right = generator.random(documents) < 1 / (1 + np.exp(difficulty - offset))
        samples = [sample(i, exact_match=float(each)) for i, each in enumerate(right)]
        write_samples(folder, "arithmetic", samples, f"2025-03-{run + 1:02}T10-00-00.000000")
    return folder


def log_sample(identity: int | str, epoch: int = 1, **scores: Any) -> dict[str, Any]:
    """Return a sample as inspect_ai logs it, with the value of each scorer."""
    return {
        "id": identity,
        "epoch": epoch,
        "input": f"question {identity}",
        "target": "4",
        "messages": [{"role": "user", "content": f"question {identity}"}],
        "output": {"model": "made-up", "choices": []},
        "scores": {name: {"value": value, "answer": "4"} for name, value in scores.items()},
        "metadata": {"topic": f"topic {str(identity)[-1]}"},
    }


def log(samples: Sequence[Mapping[str, Any]], task: str = "arithmetic", **entries: Any) -> dict:
    """Return a log of inspect_ai, version 2."""
    header = {
        "version": 2,
        "status": "success",
        "eval": {"run_id": "r1", "task": task, "model": "made-up/model", "config": {"epochs": 1}},
        "plan": {"name": "plan", "steps": []},
        "results": {"total_samples": len(samples), "scores": []},
        "stats": {"started_at": "2025-03-01T10:00:00+00:00"},
    }
    return {**header, **entries, "samples": list(samples)}


def write_log(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a log as .json, or as .eval with a file for each sample, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(record, indent=2))
        return path
    header = {name: value for name, value in record.items() if name != "samples"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps(header))
        for each in record["samples"]:
            name = f"samples/{each['id']}_epoch_{each['epoch']}.json"
            archive.writestr(name, json.dumps(each))
        archive.writestr("header.json", json.dumps(header))
    return path
