"""A good trace, and a writer of a stream."""

from pathlib import Path

import numpy as np
import pytest

from factories.traces import StreamMaker, write_trace
from factories.written import INFO
from nondet.tracing.format import StreamWriter, write_command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a good trace, whose stream has a block of each kind."""
    stream = StreamMaker()
    w = stream.parameter("w")
    stream.op("aten.mm.default", w, line=3, facts={"training": True, "seed": 5}, numbers=(1.5,))
    stream.keep(stream.op("aten.ones"), np.arange(3.0))
    return write_trace(tmp_path / "a.trace", stream)


@pytest.fixture
def writer(tmp_path: Path) -> StreamWriter:
    write_command(tmp_path, {})
    return StreamWriter(tmp_path / "0.stream", INFO)
