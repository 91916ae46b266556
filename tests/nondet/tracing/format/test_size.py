"""How large a trace is on the disk."""

import numpy as np

from factories.stream_files import STEP, contents
from factories.traces import NO_LINES
from nondet.tracing.format import (
    Entry,
    ReadShape,
    StreamWriter,
    WriteShape,
    read_trace,
    stream_path,
    write_command,
)
from nondet.tracing.records import Source, StreamInfo, TensorType

OPERATIONS, READ, CONSTANT, STEPS = 368, 172, 120, 1000
"""A step of ResNet-14: every operation writes one tensor, and some read one that is "new"."""


def make_entries(writer):
    """Return the ids of the entries of a step; its shapes and names repeat as those of a net do."""
    entries = []
    for number in range(OPERATIONS):
        kind = TensorType("float32", (128, 16 << number % 3, 32, 32), "cpu")
        reads = []
        if number > 0:
            reads.append(ReadShape(kind, Source("output", min(number, 1 + number % 40)), True))
        if number < READ:
            reads.append(ReadShape(kind, Source("new", label=f"layer{number}.weight"), True))
        entry = Entry(
            "operation",
            f"aten.operation_{number % 30}.default",
            "forward" if number < OPERATIONS // 3 else "backward",
            f"ResNet.layer{number // 40}.conv{number % 4}",
            writer.line("/home/me/train.py", number // 3, "forward", "x = self.conv(x)"),
            *(-1, -1, -1),
            "(1, 1), False",
            "",
            False,
            tuple(reads),
            (WriteShape(kind, True),),
            (("training", True),),
            (),
        )
        entries.append(writer.entry(entry))
    return entries


def test_a_thousand_steps_are_within_5_mb(tmp_path):
    write_command(tmp_path, {})
    path = stream_path(tmp_path)
    writer = StreamWriter(path, StreamInfo("main", 1, "MainThread", 1.0))
    entries = make_entries(writer)
    rng = np.random.default_rng(0)
    constant = rng.permutation(OPERATIONS + READ) < CONSTANT
    values = rng.integers(0, 2**64, OPERATIONS + READ, dtype=np.uint64)
    sums = []
    for step in range(STEPS):
        digests = rng.integers(0, 2**64, OPERATIONS + READ, dtype=np.uint64)
        values = np.where(constant, values, digests)
        sums.append(np.bitwise_xor.reduce(values))
        writer.step(step, entries, values, whole=True)
    writer.close()
    assert (OPERATIONS + READ - CONSTANT, CONSTANT) == (420, 120)
    assert path.stat().st_size < 5_000_000
    assert path.stat().st_size < 1.04 * STEPS * 420 * 8  # 4% on top of what cannot be compressed
    [stream] = read_trace(tmp_path).streams
    assert [np.bitwise_xor.reduce(step.values) for step in stream.steps] == sums
    assert len({id(step.entries) for step in stream.steps}) == 1


def test_values_that_stay_take_a_bit_each(tmp_path):
    write_command(tmp_path, {})
    path = stream_path(tmp_path)
    writer = StreamWriter(path, StreamInfo("main", 1, "MainThread", 1.0))
    entry = writer.entry(
        Entry("operation", "op", "forward", "", *NO_LINES, "", "u" * 800, False, (), (), (), ())
    )
    for step in range(4):
        writer.step(step, [entry], np.arange(800, dtype=np.uint64), whole=True)
    steps = [len(payload) for kind, payload in contents(path) if kind == STEP]
    assert steps == [16 + 100 + 8 * 799, *[16 + 100] * 3]
