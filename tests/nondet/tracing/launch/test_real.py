"""Traced commands with torch itself: they compute and print what they do untraced."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nondet.tracing.format import Trace, read_trace
from nondet.tracing.launch.run import trace_command
from nondet.tracing.options import Options

TRAIN = """
import hashlib, sys
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loss = nn.CrossEntropyLoss()
for _ in range(3):
    optimizer.zero_grad()
    loss(model(torch.randn(32, 8)), torch.randint(3, (32,))).backward()
    optimizer.step()
digest = hashlib.sha256()
for weight in model.parameters():
    digest.update(weight.detach().numpy().tobytes())
print(digest.hexdigest(), torch.rand(1).item())
"""

slow = pytest.mark.slow


def traced(folder: Path, *arguments: str) -> int:
    return trace_command([sys.executable, *arguments], folder, Options())


def roles(trace: Trace) -> set[str]:
    return {stream.info.role for stream in trace.streams}


def processes(folder: Path) -> dict[str, str]:
    command = json.loads((folder / "trace.json").read_text())["command"]
    assert command["unseen"] == []
    return {each["role"]: each["torch"] for each in command["processes"]}


def test_a_traced_script_has_the_bits_of_an_untraced_one(script, tmp_path, capfd):
    threads = torch.get_num_threads()
    state = torch.get_rng_state()
    exec(compile(TRAIN, "train.py", "exec"), {})
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    untraced = capfd.readouterr().out
    assert traced(tmp_path / "a.trace", script(TRAIN + "sys.exit(9)")) == 9
    out, err = capfd.readouterr()
    assert out == untraced
    assert err.startswith("trace: ")
    trace = read_trace(tmp_path / "a.trace")
    assert roles(trace) == {"main"}
    [main] = trace.streams
    assert main.complete
    assert [step.number for step in main.steps[:3]] == [0, 1, 2]
    assert processes(tmp_path / "a.trace") == {"main": "recorded"}


@slow
@pytest.mark.parametrize(
    "arguments",
    [["-m", "train"], ["-c", TRAIN], ["-c", f"import threading\nexec({TRAIN!r})"]],
    ids=["module", "code", "exec"],
)
def test_modules_and_code(script, tmp_path, monkeypatch, capfd, arguments):
    script(TRAIN, "train.py")
    monkeypatch.chdir(tmp_path)
    untraced = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True
    )
    assert traced(tmp_path / "a.trace", *arguments) == 0
    assert capfd.readouterr().out == untraced.stdout
    assert roles(read_trace(tmp_path / "a.trace")) == {"main"}


@slow
def test_torchrun(script, tmp_path, capfd):
    """The agent that starts the ranks is main."""
    path = script(
        """
        import os, torch, torch.distributed
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        total = torch.ones(3) * (rank + 1)
        torch.distributed.all_reduce(total)
        if rank == 0:
            print(total.tolist())
        torch.distributed.destroy_process_group()
        """
    )
    arguments = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", path]
    assert traced(tmp_path / "a.trace", *arguments) == 0
    assert "[3.0, 3.0, 3.0]" in capfd.readouterr().out
    found = processes(tmp_path / "a.trace")
    assert {role: found[role] for role in ("main", "rank 0", "rank 1")} == {
        "main": "recorded",
        "rank 0": "recorded",
        "rank 1": "recorded",
    }
    assert {"rank 0", "rank 1"} <= roles(read_trace(tmp_path / "a.trace"))


@slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_loaders(script, tmp_path, capfd, method):
    loaders = 2 if method == "fork" else 1  # the others import torch in each worker
    path = script(
        f"""
        import torch
        from torch.utils.data import DataLoader, Dataset
        class Data(Dataset):
            def __len__(self):
                return 8
            def __getitem__(self, index):
                return torch.full((2,), float(index)) + torch.rand(2)
        if __name__ == "__main__":
            torch.manual_seed(0)
            loader = DataLoader(
                Data(), num_workers=2, shuffle=True, multiprocessing_context="{method}"
            )
            for _ in range({loaders}):
                print(torch.cat(list(loader)).tolist())
        """
    )
    untraced = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert traced(tmp_path / "a.trace", path) == 0
    assert capfd.readouterr().out == untraced.stdout
    workers = {
        f"main/loader {loader} worker {worker}"
        for loader in range(1, loaders + 1)
        for worker in (0, 1)
    }
    found = processes(tmp_path / "a.trace")
    assert {role for role, torch in found.items() if torch == "recorded"} == {"main", *workers}
    trace = read_trace(tmp_path / "a.trace")
    assert workers <= roles(trace)
    assert all(stream.complete for stream in trace.streams)


@slow
def test_processes_that_torch_spawns(script, tmp_path, capfd):
    path = script(
        """
        import torch
        def work(rank):
            torch.manual_seed(rank)
            print(rank, torch.randn(2).tolist(), flush=True)
        if __name__ == "__main__":
            torch.multiprocessing.spawn(work, nprocs=2)
        """
    )
    assert traced(tmp_path / "a.trace", path) == 0
    assert len(capfd.readouterr().out.splitlines()) == 2
    spawned = {"main/process SpawnProcess-1", "main/process SpawnProcess-2"}
    found = processes(tmp_path / "a.trace")
    assert {role for role, torch in found.items() if torch == "recorded"} == {"main", *spawned}


@slow
def test_a_process_that_is_killed_leaves_a_readable_trace(script, tmp_path, capfd):
    path = script(
        TRAIN.replace("    optimizer.step()", "    optimizer.step()\n    print('step', flush=True)")
        + "\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert traced(tmp_path / "a.trace", path) == 128 + signal.SIGKILL
    trace = read_trace(tmp_path / "a.trace")
    [main] = trace.streams
    assert not main.complete
    assert main.problem is not None
    assert [step.whole for step in main.steps[:3]] == [True] * 3
