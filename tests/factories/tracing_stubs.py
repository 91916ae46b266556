"""Stand-ins for torch and for the recorder, so that tests of many processes take no seconds."""

import json
from pathlib import Path

import nondet
from nondet.tracing import options, records

TORCH = """
class Tensor: pass
"""

SESSION = '''
import json, os, threading

class Session:
    """Writes each event as a line of a file per stream."""

    def __init__(self, folder, options, role):
        self.folder, self.options = folder, options
        self.begin(role)

    def begin(self, role):
        self.path = self.folder / f"{os.getpid()}-{role.replace('/', '+')}.events"
        self.write(role=role, pid=os.getpid(), runs_in=threading.current_thread().name)

    def write(self, **event):
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\\n")

    def stop(self):
        self.write(stopped=True)

    def name_role(self, role):
        return role

    def begin_thread(self, role):
        self.begin(role)

    def find_recorder(self):
        self.stream = self
        return self

    def unseen(self, unseen):
        self.write(**{unseen.kind: unseen.what})

    def after_fork(self, role):
        self.begin(role)

def start(folder, options, role):
    import torch
    assert torch.Tensor
    if os.environ.get("FAIL"):
        raise RuntimeError(os.environ["FAIL"])
    session = Session(folder, options, role)
    session.write(level=options.level, steps=options.steps)
    return session
'''


def write_stubs(folder: Path) -> Path:
    """Write packages `torch` and `nondet` into a folder, for PYTHONPATH; return the folder."""

    files = {
        "torch/__init__.py": TORCH,
        "nondet/__init__.py": f"__version__ = {nondet.__version__!r}\n",
        "nondet/tracing/__init__.py": "",
        "nondet/tracing/options.py": Path(options.__file__).read_text(),
        "nondet/tracing/records.py": Path(records.__file__).read_text(),
        "nondet/tracing/record/__init__.py": "",
        "nondet/tracing/record/session.py": SESSION,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def read_events(trace: Path) -> dict[str, dict[str, object]]:
    """Return what the stub of the recorder wrote, by role: all events of a stream in one."""
    streams: dict[str, dict[str, object]] = {}
    for path in trace.glob("*.events"):
        events: dict[str, object] = {}
        for line in path.read_text().splitlines():
            events |= json.loads(line)
        assert events["role"] not in streams, f"two streams of {events['role']}"
        streams[str(events["role"])] = events
    return streams
