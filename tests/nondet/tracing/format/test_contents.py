"""Blocks with right checksums whose contents are wrong: somebody forged them."""

import json
import struct
import tracemalloc
import zlib

import pytest

from factories.stream_files import (
    DATA,
    END,
    ENTRIES,
    INFO,
    KEPT,
    LINES,
    SEQUENCE,
    STEP,
    UNSEEN,
    contents,
    deflated,
    forge,
    inflated,
    nested,
)
from factories.traces import StreamMaker, write_trace
from nondet.tracing.format import TraceError, read_trace


def test_the_forger_forges(folder):
    path = folder / "0.stream"
    before = path.read_bytes()
    assert [kind for kind, _ in contents(path)] == [
        INFO,
        LINES,
        ENTRIES,
        SEQUENCE,
        STEP,
        KEPT,
        8,
        9,
    ]
    forge(path, contents(path))
    assert path.read_bytes() == before


def bomb(size):
    """Return a payload of a few KB that claims `size` bytes, and holds more."""
    return struct.pack("<I", size) + zlib.compress(bytes(64 << 20), 9)


def edit(name, change):
    """Return a function that changes the first entry of JSON with this name, at any depth."""

    def visit(value):
        if isinstance(value, dict) and name in value:
            value[name] = change
            return True
        inner = value.values() if isinstance(value, dict) else value
        return isinstance(value, dict | list) and any(visit(each) for each in inner)

    def apply(payload):
        value = inflated(payload)
        assert visit(value)
        return deflated(value)

    return apply


STEP_HEAD = struct.Struct("<qIB3x")
CHANGES = {
    # kind of the block, its new payload or a function of the old one, words of the error
    "info list": (INFO, deflated([]), "the info is a list"),
    "info more": (INFO, deflated({"role": "a", "x": 1}), "lacks entries, or has unknown ones"),
    "info pid": (INFO, edit("pid", -1), "pid of the info is not from 0"),
    "info pid bool": (INFO, edit("pid", True), "pid of the info is true"),
    "info role": (INFO, edit("role", 1), "role of the info is a number in place of a text"),
    "info started": (INFO, edit("started", "now"), "started of the info is a text"),
    "info header": (INFO, edit("header", []), "header of the info is a list"),
    "info nan": (INFO, deflated(b'{"role": NaN}'), "NaN"),
    "info not deflated": (INFO, b"{}", "too short"),
    "info no zlib": (INFO, b"\2\0\0\0ab", "cannot be inflated"),
    "info longer": (INFO, struct.pack("<I", 1) + zlib.compress(b"{}"), "does not inflate to the 1"),
    "info shorter": (
        INFO,
        struct.pack("<I", 9) + zlib.compress(b"{}"),
        "does not inflate to the 9",
    ),
    "info rest": (INFO, lambda old: old + b"x", "does not inflate"),
    "info cut": (INFO, lambda old: old[:-3], "does not inflate"),
    "bomb": (INFO, bomb(1000), "does not inflate to the 1000"),
    "large bomb": (INFO, bomb(64 << 20), "inflates to 67108864 bytes; at most"),
    "deep": (INFO, edit("header", {"a": nested(200)}), "nested too deeply"),
    "deeper": (INFO, deflated(b"[" * 200_000), "nested too deeply"),
    "huge integer": (INFO, deflated(b"1" * 10_000), "not JSON"),
    "no UTF-8": (INFO, deflated(b'"\xff"'), "not JSON"),
    "lines object": (LINES, deflated({}), "holds an object in place of a list"),
    "line short": (LINES, deflated([["a", 1, "b"]]), "a line of source is no list"),
    "line negative": (LINES, deflated([["a", -1, "b", "c"]]), "number of a line of source"),
    "line bool": (LINES, deflated([["a", True, "b", "c"]]), "a line of source is no list"),
    "entries text": (ENTRIES, deflated("entries"), "holds a text in place of a list"),
    "entry list": (ENTRIES, deflated([[]]), "an entry is a list"),
    "entry empty": (ENTRIES, deflated([{}]), "lacks entries"),
    "entry kind": (ENTRIES, edit("kind", "dance"), "kind of an entry is 'dance'; known: operation"),
    "entry kind list": (ENTRIES, edit("kind", []), "kind of an entry is a list"),
    "entry phase": (ENTRIES, edit("phase", "up"), "phase of an entry is 'up'"),
    "entry line": (ENTRIES, edit("line", 1), "line of an entry is not from -1 to 0"),
    "entry line low": (ENTRIES, edit("line", -2), "line of an entry is not from -1 to 0"),
    "entry state": (ENTRIES, edit("has_state", 1), "has_state of an entry is a number"),
    "entry numbers": (ENTRIES, edit("numbers", "fx"), "numbers of an entry may have the letters f"),
    "entry origin": (ENTRIES, edit("origin", "sky"), "origin of a read is 'sky'"),
    "entry back": (ENTRIES, edit("back", -1), "back of a read is not from 0"),
    "entry back large": (ENTRIES, edit("back", 2**63), "back of a read is not from 0"),
    "entry shape": (ENTRIES, edit("shape", [-1]), "shape of a read holds no sizes"),
    "entry shape float": (ENTRIES, edit("shape", [1.0]), "shape of a read holds no sizes"),
    "entry alignment": (ENTRIES, edit("alignment", 0), "alignment of a read is not from 1 to 64"),
    "entry into": (ENTRIES, edit("into", 5), "into of a write is not from 0"),
    "entry view": (ENTRIES, edit("view_of", "w"), "view_of of a write is a text"),
    "entry facts": (ENTRIES, edit("facts", []), "facts of an entry is a list"),
    "entry fact object": (ENTRIES, edit("facts", {"a": {}}), "one is an object"),
    "entry fact deep": (ENTRIES, edit("facts", {"a": nested(11)}), "at most 10 levels"),
    "entry fact large": (ENTRIES, edit("facts", {"a": 2**64}), "integers of 64 bits"),
    "entry facts twice": (ENTRIES, edit("value_facts", ["a", "a"]), "two facts of the same name"),
    "entry facts both": (ENTRIES, edit("value_facts", ["a", "a[]"]), "two facts of the same name"),
    "entry value facts": (ENTRIES, edit("value_facts", [1]), "holds a number; it holds texts"),
    "entry values": (ENTRIES, edit("numbers", "f" * (2**20 + 1)), "values; at most 1048576"),
    "sequence odd": (SEQUENCE, deflated(b"\0\0\0\0\0"), "no whole ids"),
    "sequence unknown": (SEQUENCE, deflated(struct.pack("<I", 3)), "names entry 3 of 3"),
    "step short": (STEP, b"\0" * 15, "is too short for a step"),
    "step sequence": (STEP, STEP_HEAD.pack(0, 1, 1), "names sequence 1 of 1"),
    "step flags": (STEP, lambda old: old[:12] + b"\5" + old[13:], "has unknown flags"),
    "step padding": (STEP, lambda old: old[:13] + b"\1" + old[14:], "has unknown flags"),
    "step based": (STEP, lambda old: old[:12] + b"\3" + old[13:], "based on values that are not"),
    "step no mask": (STEP, STEP_HEAD.pack(0, 0, 1), "the mask of 5 values has 1"),
    "step mask": (STEP, STEP_HEAD.pack(0, 0, 1) + b"\xff", "marks more than its 5"),
    "step more": (STEP, lambda old: old + bytes(8), "more or fewer values than its mask"),
    "step fewer": (STEP, lambda old: old[:-8], "more or fewer values than its mask"),
    "step odd": (STEP, lambda old: old[:-1], "more or fewer values than its mask"),
    "kept": (KEPT, deflated({}), "kept values lacks entries"),
    "kept size": (KEPT, edit("size", 5), "cannot be 5 bytes"),
    "kept shape": (KEPT, edit("shape", [2**40, 2**40]), "cannot be 24 bytes"),
    "kept dtype": (
        KEPT,
        edit("dtype", "save"),
        "^",
    ),  # unknown to this torch, perhaps not to others
    "kept more": (DATA, bytes(25), "more bytes than the kept values have"),
    "kept fewer": (DATA, bytes(23), "is END; DATA, and nothing else, follows KEPT"),
    "end": (END, b"x", "an end that holds something"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_contents_are_told(folder, name):
    kind, payload, problem = CHANGES[name]
    path = folder / "0.stream"
    blocks = contents(path)
    number = [each for each, _ in blocks].index(kind)
    new = payload(blocks[number][1]) if callable(payload) else payload
    forge(path, [*blocks[:number], (kind, new), *blocks[number + 1 :]])
    if problem == "^":
        assert read_trace(folder).streams[0].complete
        return
    with pytest.raises(TraceError, match=problem) as caught:
        read_trace(folder)
    assert caught.value.path == path
    where = number + 1 if name == "kept fewer" else number
    assert f"block {where}: " in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([1, 0, 2, 3, 4, 5, 6, 7], "block 0: is LINES; the first block, and no other, is INFO"),
        ([0, 0, 1, 2, 3, 4, 5, 6, 7], "block 1: is INFO; the first block, and no other, is INFO"),
        ([0, 1, 2, 3, 4, 6, 7], "block 5: is DATA; DATA, and nothing else, follows KEPT"),
        ([0, 1, 2, 3, 4, 5, 4, 6, 7], "block 6: is STEP; DATA, and nothing else, follows KEPT"),
        ([0, 2, 3, 4, 7], "block 1: line of an entry is not from -1 to -1"),
        ([0, 1, 3, 4, 7], "block 2: names entry 2 of 0"),
        ([0, 1, 2, 4, 7], "block 3: names sequence 0 of 0"),
    ],
)
def test_blocks_in_a_wrong_order_are_told(folder, order, problem):
    path = folder / "0.stream"
    blocks = contents(path)
    forge(path, [blocks[number] for number in order])
    with pytest.raises(TraceError, match=problem):
        read_trace(folder)


@pytest.mark.parametrize(
    ("source", "step"),
    [
        (("output", 0, 0), 0),
        (("output", 1, 1), 0),
        (("output", 2, 0), 0),
        (("output", 2**63 - 1, 0), 0),
        (("read", 0, 0), 0),
        (("read", 0, 5), 0),
        (("read", 1, 0), 0),
        (("earlier", 0, 0), 0),
        (("earlier", 2, 0), 1),
        (("earlier", 0, 1), 1),
        (("earlier", 0, 2**63 - 1), 1),
    ],
)
def test_a_tensor_that_is_not_there_is_told(tmp_path, source, step):
    # Two records a step: an operation without reads, and one that reads this.
    stream = StreamMaker()
    for _ in range(3):
        stream.op("op", stream.op("first"))
        stream.step()
    folder = write_trace(tmp_path / "a.trace", stream)
    path = folder / "0.stream"
    blocks = contents(path)
    entries = inflated(blocks[1][1])
    bad = json.loads(json.dumps(entries[1]))
    bad["reads"][0] |= dict(zip(("origin", "back", "slot"), source, strict=True))
    if step == 1:  # the second step is the first that has it
        ids = deflated(struct.pack("<2I", 0, 2))
        more = [(ENTRIES, deflated([bad])), (SEQUENCE, ids)]
        later = [(STEP, struct.pack("<qIB3x", n, 1, 1) + b"\0") for n in (1, 2)]
        blocks = [*blocks[:4], *more, *later, (END, b"")]
    else:
        blocks[1] = (ENTRIES, deflated([entries[0], bad]))
    assert [kind for kind, _ in blocks[:4]] == [INFO, ENTRIES, SEQUENCE, STEP]
    forge(path, blocks)
    text = f"record 1 of step {step} reads a tensor that is not there"
    with pytest.raises(TraceError, match=text) as caught:
        read_trace(folder)
    assert caught.value.path == path


def test_the_memory_of_a_trace_is_bounded(folder):
    path = folder / "0.stream"
    blocks = contents(path)
    texts = deflated(json.dumps([["a" * 100_000, 1, "b", "c"]] * 100).encode())
    assert len(texts) < 100_000
    forge(path, [blocks[0], *[(LINES, texts)] * 20, (END, b"")])
    with pytest.raises(TraceError, match=r"block 5: makes the trace larger than 1000000000 bytes"):
        read_trace(folder, memory=10**9)
    head = struct.pack("<qIB3x", 0, 0, 1)
    many = [
        (ENTRIES, deflated([inflated(blocks[2][1])[0] | {"numbers": "u" * (2**20 - 1)}])),
        (SEQUENCE, deflated(struct.pack("<I", 0))),
        *[(STEP, head + bytes(2**17))] * 40,
    ]
    forge(path, [blocks[0], *many, (END, b"")])
    with pytest.raises(TraceError, match="makes the trace larger than 99999999 bytes of memory"):
        read_trace(folder, memory=99_999_999)


def test_many_parts_of_a_step_are_joined_once(folder):
    path = folder / "0.stream"
    blocks = contents(path)
    part = [kind for kind, _ in blocks].index(STEP)
    payload = blocks[part][1][:12] + b"\0" + blocks[part][1][13:]
    forge(path, [*blocks[:part], *[(STEP, payload)] * 2_000, (END, b"")])
    [stream] = read_trace(folder).streams
    assert [len(step.entries) for step in stream.steps] == [6_000]


def test_blocks_that_are_unknown_or_too_long_are_damage(folder):
    path = folder / "0.stream"
    blocks = contents(path)
    for kind, size in ((0, 0), (10, 0), (2**32 - 1, 0), (UNSEEN, (16 << 20) + 1)):
        forge(path, [*blocks[:-1], (kind, bytes(size)), (END, b"")])
        place = path.stat().st_size - size - 2 * 32
        [stream] = read_trace(folder).streams
        assert stream.problem == f"is damaged at block 7, which begins at byte {place}"
        assert len(stream.steps) == 1


def test_nothing_behind_the_end_is_read(folder):
    path = folder / "0.stream"
    size = path.stat().st_size
    unseen = deflated({"kind": "process", "what": "x", "count": 1})
    forge(path, [*contents(path), (UNSEEN, unseen), (END, b"")])
    [stream] = read_trace(folder).streams
    assert stream.problem == f"is damaged: it goes on behind its end, at byte {size}"
    assert not stream.complete
    assert stream.unseen == []
    assert len(stream.steps) == 1


def test_no_more_is_inflated_than_a_block_claims(folder):
    path = folder / "0.stream"
    blocks = contents(path)
    forge(path, [blocks[0], (UNSEEN, bomb(1000)), *blocks[1:]])
    tracemalloc.start()
    try:
        with pytest.raises(TraceError, match="does not inflate to the 1000"):
            read_trace(folder)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # of the 64 MiB that it holds
    finally:
        tracemalloc.stop()
