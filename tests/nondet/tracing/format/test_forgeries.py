"""Random forgeries with right checksums are refused, or can be used without an error."""

import json
import random
import zlib

import numpy as np

from factories.stream_files import (
    ENTRIES,
    INFO,
    KEPT,
    LINES,
    SEQUENCE,
    UNSEEN,
    contents,
    deflated,
    forge,
)
from factories.traces import StreamMaker, write_trace
from nondet.tracing.format import TraceError, read_trace
from nondet.tracing.records import Unseen

JSON = (INFO, LINES, ENTRIES, UNSEEN, KEPT)
NUMBERS = [-1, 0, 1, 2, 64, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 1.5, -0.0, 1e308]
TEXTS = ["", "x", "f", "new", "read", "output", "earlier", "operation", "a[]", "\ud800"]
VALUES = [None, True, False, *NUMBERS, *TEXTS, [], {}, [1], {"a": 1}, [[]]]


def make_stream():
    stream = StreamMaker()
    w = stream.parameter("w")
    for step in range(3):
        h = stream.op("aten.mm.default", w, stream.batch(bits=step), line=step, numbers=(1, 0.5))
        w = stream.op("aten.add_", w, h, into=0, facts={"seed": step, "training": True})
        stream.step()
    stream.keep(w, np.arange(3.0))
    stream.unseen.append(Unseen("process", "python -S"))
    return stream


def places(value, path=()):
    """Yield the paths of all that a value of JSON holds."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    for name, each in value.items() if isinstance(value, dict) else ():
        yield (*path, name)
        yield from places(each, (*path, name))


def change_json(rng, value):
    for _ in range(rng.choice([1, 1, 2, 3])):
        paths = [*places(value)]
        if not paths:
            return rng.choice(VALUES)
        *path, last = rng.choice(paths)
        holder = value
        for name in path:
            holder = holder[name]
        how = rng.random()
        if how < 0.15:
            del holder[last]
        elif how < 0.25:
            copy = json.loads(json.dumps(holder[last]))
            holder.append(copy) if isinstance(holder, list) else holder.update(x=copy)
        else:
            holder[last] = rng.choice(VALUES)
    return value


def change_bytes(rng, data):
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 5])):
        how = rng.random()
        if how < 0.6 and changed:
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 2, 255, rng.randrange(256)])
        elif how < 0.8:
            changed += bytes(rng.randrange(20))
        else:
            del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def change(rng, blocks):
    """Change a block: leave it out, repeat it elsewhere, or change its kind or what it holds."""
    place = rng.randrange(len(blocks))
    kind, payload = blocks[place]
    how = rng.random()
    if how < 0.1:
        return blocks[:place] + blocks[place + 1 :]
    if how < 0.2:
        other = rng.randrange(len(blocks))
        return [*blocks[:other], (kind, payload), *blocks[other:]]
    if how < 0.25:
        kind = rng.randrange(11)
    elif how < 0.9 and kind in JSON:
        payload = deflated(change_json(rng, json.loads(zlib.decompress(payload[4:]))))
    elif how < 0.8 and kind == SEQUENCE:
        payload = deflated(change_bytes(rng, zlib.decompress(payload[4:])))
    else:
        payload = change_bytes(rng, payload)
    return [*blocks[:place], (kind, payload), *blocks[place + 1 :]]


def test_random_forgeries_are_refused_or_usable(tmp_path):
    folder = write_trace(tmp_path / "a.trace", make_stream())
    path = folder / "0.stream"
    right, rng = contents(path), random.Random(0)
    refused = usable = 0
    for _ in range(500):
        forge(path, change(rng, right))
        try:
            streams = read_trace(folder).streams
        except TraceError:
            refused += 1
            continue
        usable += 1
        for stream in streams:
            for position, step in enumerate(stream.steps):
                assert len(stream.records(position)) == len(step.entries)
                assert stream.offsets(position)[-1] == len(step.values)
            assert [len(kept.data) for kept in stream.kept] in ([], [24], [24, 24])
            assert hash(tuple(stream.entries))
    assert refused > 250
    assert usable > 50
