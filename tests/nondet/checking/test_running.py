"""Test the order of all checks, the limit of memory, and checks that raise."""

import pytest
import torch

from factories.checked_devices import emulated
from nondet.checking import running, speed
from nondet.checking.devices import Device, cpu_device, missing_device
from nondet.checking.results import Part
from nondet.checking.running import CHECK_BYTES, Checks, free_bytes, processor_ways, run_checks
from nondet.checking.sanitizer import Sanitized

REFERENCE = cpu_device("generic", 1)


def made(**options):
    return Checks(REFERENCE, quick=True, say=lambda text: None, **options)


@pytest.fixture
def few(monkeypatch):
    """Let whole runs compare little, so that they take a second."""
    monkeypatch.setattr(running, "permanent_groups", lambda reference: [])
    monkeypatch.setattr(running.edges, "FEW_SIZES", (3,))
    monkeypatch.setattr(running.oracle, "FEW_SIZES", (3,))
    monkeypatch.setattr(running, "check_repetition", lambda *arguments: None)
    monkeypatch.setattr(running, "count_results", lambda *arguments: [])
    monkeypatch.setattr(speed, "array_bytes", lambda *arguments: 1 << 16)


def test_everything_is_checked_on_every_device(few):
    device = emulated()
    found = run_checks([REFERENCE], quick=True, memory=2 << 30, say=print, device=device)
    assert [(part.name, part.device) for part in found.parts] == [
        ("permanent digests", REFERENCE.name),
        ("ops at edges", REFERENCE.name),
        ("permanent digests", "emulated"),
        ("ops at edges", "emulated"),
        ("deterministic orders, repeated", REFERENCE.name),
        ("atomic order", REFERENCE.name),
        ("deterministic orders, repeated", "emulated"),
        ("atomic order", "emulated"),
        ("speed", "emulated"),
    ]
    assert found.differences == []
    assert found.parts[3].compared > 100
    assert found.seconds > 0
    assert (found.timed, found.peak_bytes) == ("emulated", None)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [(None, "--device is cpu"), ("no kernels", "no kernels")],
)
def test_a_gpu_that_is_not_checked_is_told(few, monkeypatch, missing, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(running, "missing_device", lambda name: missing)
    found = run_checks([REFERENCE], quick=True, memory=2 << 30, say=lambda text: None)
    assert found.notes[0] == f"the GPU was not checked: {reason}"


def test_a_whole_check_runs_the_sanitizer(few, monkeypatch):
    sanitized = []
    monkeypatch.setattr(Checks, "sanitize", lambda self, device: sanitized.append(device.name))
    monkeypatch.setattr(running.edges, "SIZES", (3,))
    monkeypatch.setattr(running.oracle, "SIZES", (3,))
    run_checks([REFERENCE], quick=False, memory=2 << 30, say=lambda text: None, device=REFERENCE)
    assert sanitized == [REFERENCE.name]


def test_a_check_that_raises_is_a_difference():
    checks = made()
    with checks.part("speed", REFERENCE):
        raise OSError("no memory")
    [found] = checks.found.differences
    assert found.why == "the check raised OSError: no memory"
    assert checks.found.parts[0].seconds > 0


def test_an_interrupt_is_none():
    with pytest.raises(KeyboardInterrupt), made().part("speed", REFERENCE):
        raise KeyboardInterrupt


def test_checks_beyond_the_limit_of_memory_are_left_out():
    checks = made(memory=CHECK_BYTES - 1)
    checks.digests(REFERENCE)
    checks.compare(REFERENCE, [])
    checks.repeat(REFERENCE)
    checks.race(REFERENCE)
    checks.sanitize(REFERENCE, run=lambda kind: pytest.fail("it must not run"))
    assert [part.left_out for part in checks.found.parts] == 5 * [
        "it takes up to 192 MiB, --memory is 191 MiB"
    ]
    assert [part.compared for part in checks.found.parts] == 5 * [0]
    assert "atomic order, cpu generic, 1 thread: left out, it takes" in checks.found.notes[3]


def test_checks_that_the_device_has_no_room_for_are_left_out(monkeypatch):
    monkeypatch.setattr(running, "free_bytes", lambda place: 5 << 20)
    checks = made()
    part = Part("speed", "cuda:0")
    assert not checks.fits(part, REFERENCE, 6 << 20)
    assert part.left_out == "it takes up to 6 MiB, the device has 5 free"
    assert checks.fits(Part("speed", "cuda:0"), REFERENCE, 5 << 20)


def test_the_memory_of_the_cpu_is_not_asked_for():
    assert free_bytes(torch.device("cpu")) is None


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("memory", [1 << 20, 100 << 20, 2 << 30, 1 << 40])
def test_timed_arrays_fit_into_the_memory(kind, memory, quick):
    size = speed.array_bytes(torch.device(kind), memory, quick)
    assert 0 < speed.ARRAYS * size <= memory
    assert size % 4096 == 0
    assert speed.ARRAYS * size <= 2 << 30


@pytest.mark.parametrize(
    ("result", "differences", "notes", "left_out"),
    [
        (Sanitized("passed", "fine"), [], [], ""),
        (Sanitized("stopped", "no end within 30 s"), [], ["no end within 30 s"], ""),
        (Sanitized("absent"), [], [], "compute-sanitizer is not on PATH"),
        (Sanitized("errors", "race"), ["compute-sanitizer: errors; race"], [], ""),
        (Sanitized("failed", "no"), ["compute-sanitizer: failed; no"], [], ""),
    ],
)
def test_what_the_sanitizer_finds(result, differences, notes, left_out):
    checks = made()
    checks.sanitize(REFERENCE, run=lambda kind: result)
    [part] = checks.found.parts
    assert [each.why for each in part.differences] == differences
    assert (part.notes, part.left_out) == (notes, left_out)


def test_counts_of_results_are_kept():
    checks = made()
    checks.race(REFERENCE, lambda: iter([("sum/float32/atomic/one", lambda: torch.ones(1))]))
    [found] = checks.found.variations
    assert (found.case, found.runs, found.results) == ("sum/float32/atomic/one", 200, 1)
    assert checks.found.notes[0].startswith(
        "atomic order, cpu generic, 1 thread: none varied: 1 of 1"
    )


def test_ways_to_compute_end_with_all_processors():
    quick, every = processor_ways(True), processor_ways(False)
    assert quick[0].name == every[0].name == "cpu generic, 1 thread"
    assert len({each.name for each in every}) == len(every)
    assert {each.name.split(",")[0] for each in quick} == {
        each.name.split(",")[0] for each in every
    }
    assert quick[-1].name.endswith("threads")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_told(monkeypatch):
    assert missing_device("cpu") is None
    monkeypatch.setattr("nondet_ext.build_info", lambda: {"cuda": ""})
    assert missing_device("cuda") == "this build of nondet_ext has no CUDA kernels"
    monkeypatch.setattr("nondet_ext.build_info", lambda: {"cuda": "13.0"})
    assert missing_device("cuda") == "torch finds no CUDA device"


def test_speed_is_measured_and_an_op_that_raises_is_a_note(monkeypatch):
    import nondet_ext

    monkeypatch.setattr(nondet_ext, "spacing", lambda x: torch.empty(-1))
    notes = []
    copy, speeds = speed.measure(Device("cpu"), 1 << 16, True, lambda text: None, notes)
    assert copy > 0
    ops = [each.op for each in speeds]
    assert "spacing" not in ops
    assert {"sum, fixed", "index_add_", "philox_normal", "rankdata"} <= set(ops)
    assert len(notes) == 1
    assert notes[0].startswith("spacing was not timed: RuntimeError")
    for each in speeds:
        assert each.rate == each.data / each.seconds / 1e9 > 0
        assert (each.peer == "") is (each.peer_seconds is None) is (each.peer_rate is None)
