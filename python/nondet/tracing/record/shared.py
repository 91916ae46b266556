"""What all recorders of a process share."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch

from nondet.environment.settings import read_switches
from nondet.tracing.options import Options
from nondet.tracing.record.names import Modules
from nondet.tracing.record.operators import Operators
from nondet.tracing.record.randomness import Generators
from nondet.tracing.record.storages import Table
from nondet.tracing.record.stream import Stream

Header: TypeAlias = Callable[[], Mapping[str, Any]]


class Shared:
    """The state of a session that its recorders share.

    Attributes:
        streams: All streams, by their ordinals.
        threads: How many threads torch used at the start.
        finders: Import hooks that wait for a module.
        switched: Names and values of torch's switches that were changed since.
    """

    def __init__(self, folder: Path, options: Options, header: Header) -> None:
        self.folder = Path(folder)
        self.options = options
        self.header = header
        self.threads = torch.get_num_threads()
        self.table = Table()
        self.operators = Operators()
        self.modules = Modules()
        self.generators = Generators()
        self.streams: list[Stream] = []
        self.finders: list[Any] = []
        self.local = threading.local()
        self.recorders: list[Any] = []
        self.roles: dict[str, int] = {}
        self.switched: tuple[tuple[str, str], ...] = ()
        self._switches = _read_switches()
        self._graphs: dict[Any, str] = {}
        self._announced: set[str] = set()

    def refresh_switches(self) -> None:
        """Look at torch's switches, which the whole process shares, since one was set."""
        self.switched = tuple(
            (name, str(value))
            for name, value in _read_switches().items()
            if value != self._switches.get(name)
        )
        for recorder in list(self.recorders):
            recorder.refresh()

    def find_recorder(self) -> Any:
        """Return the recorder of this thread, None if it has none."""
        return getattr(self.local, "recorder", None)

    def add_stream(self, stream: Stream) -> None:
        """Take a stream into the list of streams."""
        stream.ordinal = len(self.streams)
        self.streams.append(stream)

    def name_role(self, role: str) -> str:
        """Return a role that no other stream of this process has."""
        count = self.roles[role] = self.roles.get(role, 0) + 1
        return role if count == 1 else f"{role} {count}"

    def name_graph(self, key: Any) -> str:
        """Return the name of a compiled graph, "graph 1" for the first that is called."""
        return self._graphs.setdefault(key, f"graph {len(self._graphs) + 1}")

    def announce(self, kind: str) -> bool:
        """Return True the first time that a kind of unseen things is met."""
        first = kind not in self._announced
        self._announced.add(kind)
        return first

    def finish(self, addresses: set[int] | None) -> None:
        """Compute the digests of tensors that wait, in these storages or in all."""
        for stream in self.streams:
            waiting = stream.digests.addresses
            if waiting and (addresses is None or not waiting.isdisjoint(addresses)):
                stream.digests.flush()


def _read_switches() -> dict[str, Any]:
    cuda = read_switches(cuda=True) if torch.cuda.is_available() else {}
    return {**read_switches(), **cuda}
