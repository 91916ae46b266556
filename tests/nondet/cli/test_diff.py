"""`nondet diff` as a command: what it prints, and its exit status."""

import io
import json
import math

import pytest
from rich.console import Console
from typer.testing import CliRunner

from factories.traces import COMMAND, StreamMaker, write_trace
from nondet.cli import app
from nondet.cli.verdicts import print_verdict
from nondet.tracing.compare.traces import compare_traces
from nondet.tracing.records import Line, Unseen


@pytest.fixture
def traces(tmp_path):
    """Two traces, equal but for one multiplication in a backward pass."""

    def make(noise: int) -> StreamMaker:
        maker = StreamMaker(header={"threads": 2})
        w = maker.parameter("fc.weight", shape=(3, 4))
        for step in range(3):
            x = maker.batch(bits=step, shape=(8, 3))
            y = maker.op("aten.mm.default", x, w, line=5, module="Net.fc", shape=(8, 4))
            maker.op(
                "aten.index_put_.default",
                y,
                noise=int(noise and step == 1),
                phase="backward",
                line=Line("/home/me/train.py", 12, "forward", "h = self.table[index]"),
                backward_line=Line("/home/me/train.py", 30, "<module>", "loss.backward()"),
                module="Net.embed",
                numbers=(math.nan,),
            )
            maker.step()
        maker.unseen.append(Unseen("extension", "my_kernels.fused", 3))
        return maker

    return [str(write_trace(tmp_path / f"{n}.trace", make(n))) for n in range(2)]


def diff(*arguments: str, width: int = 0):
    """Return the result of `nondet diff`; width: of the terminal."""
    environment = {"COLUMNS": str(width)} if width else {}
    return CliRunner().invoke(app, ["diff", *arguments], env=environment)


def test_a_difference_is_shown_with_its_place(traces):
    done = diff(*traces)
    assert done.exit_code == 1
    words = " ".join(done.stdout.split())
    for said in (
        "The runs differ in 1 of 1 stream.",
        "aten.index_put_.default read equal bits and wrote different ones.",
        "step: 1, record 2",
        "module: Net.embed",
        "phase: backward",
        "line: /home/me/train.py:12 in forward: h = self.table[index]",
        "backward(): /home/me/train.py:30: loss.backward()",
        "read: float32[8, 4]",
        "difference: unknown, since values were not kept",
        "nondet trace --steps 1:1 --keep-values aten.index_put_.default@train.py:12",
        "extension: my_kernels.fused (3 times)",
    ):
        assert said in words


def test_lines_of_a_library_stand_behind_those_of_the_script(tmp_path):
    site = "/usr/lib/python3.11/site-packages"
    known = {
        "line": Line(f"{site}/skorch/net.py", 7, "Net.step", "y = model(x)"),
        "caller": Line("/home/me/train.py", 30, "<module>", "net.fit(x)"),
        "backward_line": Line(f"{site}/skorch/net.py", 9, "Net.step", "loss.backward()"),
        "backward_caller": Line("/home/me/train.py", 31, "main", "net.fit(y)"),
    }
    for noise in range(2):
        stream = StreamMaker(header={"threads": 2})
        facts = {"repeats_differ": True}
        stream.op("aten.sin", noise=noise, phase="backward", facts=facts, **known)
        write_trace(tmp_path / f"{noise}.trace", stream)
    traces = [str(tmp_path / f"{n}.trace") for n in range(2)]
    words = " ".join(diff(*traces).stdout.split())
    for said in (
        "line: /home/me/train.py:30: net.fit(x) (inside skorch/net.py:7 in Net.step: y = model(x))",
        "backward(): /home/me/train.py:31 in main: net.fit(y) (inside skorch/net.py:9 in Net.step: "
        "loss.backward())",
        "`aten.sin` at train.py:30 (inside skorch/net.py:7) gave other bits",
    ):
        assert said in words
    [stream] = json.loads(diff(*traces, "--json").stdout)["streams"]
    for name, line in known.items():
        assert stream["first"]["a"][name] == line._asdict()


def test_equal_traces_are_never_called_deterministic(traces):
    done = diff(traces[0], traces[0])
    assert done.exit_code == 0
    assert "Identical in all that was recorded: 10 records, 3 steps, 1 stream." in done.stdout
    assert "deterministic" not in done.stdout


def test_what_cannot_be_compared_is_said(traces, tmp_path):
    done = diff(traces[0], str(tmp_path / "none.trace"))
    assert done.exit_code == 2
    assert "none.trace" in "".join(done.stdout.split())


def test_nothing_is_coloured_or_wider_than_100_columns_when_piped(traces):
    for arguments in (traces, [traces[0], traces[0]]):
        lines = diff(*arguments).stdout.splitlines()
        assert all("\x1b" not in line for line in lines)
        assert all(len(line) <= 100 for line in lines if "nondet trace" not in line)


def test_json_holds_what_is_documented(traces):
    done = diff(*traces, "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["format"], found["version"], found["outcome"]) == ("nondet diff", 1, "different")
    assert found["unseen"]["b"] == [{"kind": "extension", "what": "my_kernels.fused", "count": 3}]
    [stream] = found["streams"]
    assert stream["role"] == {"a": "main", "b": "main"}
    assert (stream["equal_steps"], stream["differing_steps"]) == (1, 1)
    first = stream["first"]
    assert (first["kind"], first["differing_writes"]) == ("wrote", [0])
    assert first["a"]["line"]["text"] == "h = self.table[index]"
    assert first["a"]["numbers"] == ["nan"]
    assert first["a"]["writes"][0]["digest"] != first["b"]["writes"][0]["digest"]


def test_json_of_what_cannot_be_compared(traces, tmp_path):
    done = diff(traces[0], str(tmp_path / "none.trace"), "--json")
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    assert (found["outcome"], found["streams"]) == ("not compared", [])
    assert "none.trace" in found["reasons"][0]


def test_a_strangers_trace_cannot_steer_the_terminal(tmp_path):
    def make(noise: int) -> StreamMaker:
        maker = StreamMaker("main\x1b[2J")
        maker.op("aten.\x1b]0;x\x07[red]mm[/red]", noise=noise, module="\r\n[bold]")
        return maker

    traces = [str(write_trace(tmp_path / f"{n}.trace", make(n))) for n in range(2)]
    done = diff(*traces)
    assert done.exit_code == 1
    assert not {"\x1b", "\x07", "\r"} & set(done.stdout)
    assert "[red]mm[/red]" in done.stdout


@pytest.mark.parametrize("width", [1, 40, 80])
def test_texts_are_wrapped_to_the_terminal(traces, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_verdict(compare_traces(*traces), console)
    lines = console.file.getvalue().splitlines()
    long = [line for line in lines if len(line) >= max(width, 21)]
    # No word is broken, and the command to type stands on one line.
    assert [line for line in long if " " in line.strip() and "nondet trace --" not in line] == []


def test_a_terminal_without_unicode_gets_what_it_has(tmp_path):
    def make(noise: int) -> StreamMaker:
        maker = StreamMaker()
        maker.op("aten.mm.default", noise=noise, line=Line("é.py", 1, "f", "Größe = größer()"))
        return maker

    traces = [write_trace(tmp_path / f"{n}.trace", make(n)) for n in range(2)]
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_verdict(compare_traces(*traces), Console(file=output, width=100))
    output.flush()
    assert b"Gr??e = gr??er()" in output.buffer.getvalue()


def test_a_run_that_only_did_more_is_told_from_one_with_other_values(tmp_path):
    def make(other: bool) -> StreamMaker:
        maker = StreamMaker()
        x = maker.batch()
        if other:
            maker.op("aten.mean.default", x, line=3)
        maker.op("aten.mm.default", x, line=4)
        return maker

    traces = [str(write_trace(tmp_path / f"{n}.trace", make(n == 1))) for n in range(2)]
    done = diff(*traces)
    assert done.exit_code == 1
    assert "All that both runs did came out equal" in done.stdout
    assert "No known cause" not in done.stdout


@pytest.mark.parametrize("steps", [None, [5, 6]])
def test_a_difference_that_may_have_begun_before_is_said_to(tmp_path, steps):
    def make(value: int) -> StreamMaker:
        maker = StreamMaker()
        maker.step(5)
        maker.op("aten.mm.default", maker.tensor(value, label="older"))
        return maker

    command = {**COMMAND, "options": {"steps": steps}}
    traces = [str(write_trace(tmp_path / f"{n}.trace", make(n), command=command)) for n in range(2)]
    assert ("Steps before it were not recorded" in diff(*traces).stdout) == (steps is not None)
