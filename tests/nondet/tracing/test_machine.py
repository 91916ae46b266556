"""Tests of the description of the machine, from files as other machines have them."""

import os

import pytest

from nondet.tracing import machine
from nondet.tracing.machine import describe_machine

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R)
flags\t\t: fpu sse2 smep avx2 amx_tile avx avx2 aes

processor\t: 1
flags\t\t: avx512f
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm sve bf16\n\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a folder with the files that describe a machine, at first none."""
    names = {
        "_PROCESSORS": "cpuinfo",
        "_GPUS": "gpus",
        "_GPU_DRIVER": "driver",
        "_RANDOMIZES": "randomizes",
        "_PERSONALITY": "personality",
    }
    for attribute, name in names.items():
        monkeypatch.setattr(machine, attribute, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "instructions"),
    [
        (INTEL, "amx_tile avx avx2 sse2"),
        (ARM, "asimd bf16 sve"),
        ("processor: 0\n\nprocessor: 1\nflags: avx\n", ""),
        ("", ""),
        ("flags", ""),
        ("\n\n", ""),
    ],
)
def test_vector_instructions(files, text, instructions):
    (files / "cpuinfo").write_text(text)
    assert describe_machine()["instructions"] == instructions


def test_gpus_and_their_driver(files):
    assert describe_machine()["gpus"] == []
    assert describe_machine()["gpu_driver"] == ""
    for place, text in (
        ("0000:01:00.0", "Model: \t\t NVIDIA H200\nIRQ:   44\n"),
        ("0000:02:00.0", "IRQ: 45\n"),
    ):
        (files / "gpus" / place).mkdir(parents=True)
        (files / "gpus" / place / "information").write_text(text)
    (files / "driver").write_text("570.86.10\n")
    assert describe_machine()["gpus"] == ["NVIDIA H200", "unknown"]
    assert describe_machine()["gpu_driver"] == "570.86.10"


@pytest.mark.parametrize(
    ("kernel", "personality", "random"),
    [
        ("2\n", "00000000\n", True),
        ("0\n", "00000000\n", False),
        ("2\n", "00040000\n", False),
        ("2\n", "", None),
        ("", "00000000\n", None),
    ],
)
def test_random_addresses(files, kernel, personality, random):
    (files / "randomizes").write_text(kernel)
    (files / "personality").write_text(personality)
    assert describe_machine()["random_addresses"] is random


def test_bytes_that_are_no_text(files):
    (files / "cpuinfo").write_bytes(b"flags: avx avx\xff\n")
    (files / "driver").write_bytes(b"\xfe" * 5000)
    found = describe_machine()
    assert found["instructions"] == r"avx avx\xff"
    assert len(found["gpu_driver"]) == 1000


def test_systems_without_these_files_and_calls(files, monkeypatch):
    for name in ("uname", "sched_getaffinity", "confstr"):
        monkeypatch.delattr(os, name, raising=False)
    found = describe_machine()
    assert found["cores"] == os.cpu_count()
    assert found["machine"] == found["c_library"] == found["instructions"] == ""
    assert found["system"]
