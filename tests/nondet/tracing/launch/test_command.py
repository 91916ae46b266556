"""A traced command has its own streams, signals and exit code."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factories.tracing_stubs import read_events
from nondet.tracing.launch.command import CommandError, find_program, run_command
from nondet.tracing.launch.summary import scan


def shell(text: str) -> int:
    return run_command("/bin/sh", ["sh", "-c", text], os.environ)


@pytest.mark.parametrize(
    ("text", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_exit_code(text, code):
    assert shell(text) == code


def test_the_command_finds_signals_as_a_shell_leaves_them(tmp_path):
    """Python blocks some while it waits, and ignores SIGPIPE."""
    kept = "grep -E 'Sig(Blk|Ign)' /proc/self/status"
    own = subprocess.run(["sh", "-c", kept], capture_output=True, text=True, check=True)
    shell(f"{kept} > '{tmp_path}/signals'")
    assert (tmp_path / "signals").read_text() == own.stdout


def test_signals_are_as_before_afterwards():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    shell("exit 0")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_program_that_cannot_be_executed(tmp_path):
    (tmp_path / "train.py").write_text("")
    (tmp_path / "broken").write_bytes(b"\x00")
    (tmp_path / "broken").chmod(0o755)
    with pytest.raises(CommandError, match="there is no program 'no-such'") as caught:
        find_program("no-such", os.environ)
    assert caught.value.exit_code == 127
    with pytest.raises(CommandError, match=r"did you mean `python .*train.py`") as caught:
        find_program(str(tmp_path / "train.py"), os.environ)
    assert caught.value.exit_code == 126
    with pytest.raises(CommandError, match="cannot execute") as caught:
        run_command(str(tmp_path / "broken"), ["broken"], os.environ)
    assert caught.value.exit_code == 126
    assert find_program("sh", {"PATH": "/bin"}) == "/bin/sh"


WAITS = """
import os, signal, sys, torch
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
signal.signal(signal.SIGUSR1, told)
signal.signal(signal.SIGTERM, told)
print("ready", os.getppid(), flush=True)
for line in sys.stdin:
    print(line, end="", flush=True)
    if line == "end\\n":
        sys.exit(5)
"""


def test_signals_are_sent_on(launch, script):
    process = launch("--", sys.executable, script(WAITS))
    assert process.stdout.readline() == f"ready {process.pid}\n"
    for number in (signal.SIGUSR1, signal.SIGTERM):
        process.send_signal(number)
        assert process.stdout.readline() == f"{number.name}\n"
    out, err = process.communicate("line\nend\n")
    assert out == "line\nend\n"
    assert process.returncode == 5
    assert err.startswith("trace: a.trace (")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGQUIT, 131)])
def test_a_signal_that_ends_the_command_is_its_exit_code(launch, script, tmp_path, number, code):
    """Python ends itself by SIGINT after a KeyboardInterrupt that no one caught."""
    process = launch("--", sys.executable, script(WAITS))
    process.stdout.readline()
    process.send_signal(number)
    process.wait(60)  # with its input open: the end of that ends the command, too
    _, err = process.communicate()
    assert process.returncode == code
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    assert ("stopped" in read_events(tmp_path / "a.trace")["main"]) == (number == signal.SIGINT)
    assert err.splitlines()[-1].startswith("trace: a.trace (")


def test_the_terminal_sends_its_interrupt_once(launch, script):
    """Ctrl-C goes to all processes of the terminal; the launcher does not send it once more."""
    path = script("""
        import os, sys, time, torch
        for turn in range(2):
            try:
                if turn == 0:
                    print("ready", os.isatty(0), os.isatty(1), os.isatty(2), flush=True)
                while sys.stdin.readline() != "on\\n":
                    pass
                print("no interrupt", flush=True)
            except KeyboardInterrupt:
                print("interrupt", flush=True)
        sys.exit(7)
    """)
    terminal, other = pty.openpty()

    streams = dict.fromkeys(("stdin", "stdout", "stderr"), other)
    process = launch("--", sys.executable, path, start_new_session=True, **streams)
    os.close(other)

    output = b""

    def read_until(text: bytes) -> None:
        nonlocal output
        while text not in output:
            output += os.read(terminal, 1000)
        output = output[output.index(text) + len(text) :]

    read_until(b"ready True True True\r\n")
    os.write(terminal, b"\x03")
    read_until(b"interrupt\r\n")
    os.write(terminal, b"on\n")
    read_until(b"no interrupt\r\n")
    assert process.wait() == 7
    os.close(terminal)  # its last lines may be lost: the end of a session empties its terminal
    assert json.loads(Path("a.trace", "trace.json").read_text())["command"]["exit_code"] == 7


def test_a_launcher_that_is_killed_leaves_a_trace(launch, script, tmp_path):
    process = launch("--", sys.executable, script(WAITS))
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdin.write("end\n")
    process.stdin.close()
    assert process.stdout.read() == "end\n"
    assert (tmp_path / "a.trace" / "trace.json").exists()
    assert len(list((tmp_path / "a.trace").glob("*.events"))) == 1


def test_a_folder_without_streams_is_scanned(tmp_path):
    assert scan(tmp_path).streams == 0
