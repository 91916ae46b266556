"""Record a process: start and stop, threads, forks and steps."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from nondet.tracing.header import describe_header
from nondet.tracing.options import Options
from nondet.tracing.record.compiled import follow_graphs
from nondet.tracing.record.dispatch import Dispatch
from nondet.tracing.record.exposures import follow_exposures
from nondet.tracing.record.loaders import follow_loaders
from nondet.tracing.record.modules import follow_modules
from nondet.tracing.record.parameters import follow_optimizers
from nondet.tracing.record.patches import Patches
from nondet.tracing.record.recorder import Recorder
from nondet.tracing.record.seeds import follow_seeds
from nondet.tracing.record.settings import follow_settings
from nondet.tracing.record.shared import Header, Shared
from nondet.tracing.record.threads import follow_threads
from nondet.tracing.records import Unseen

_sessions: list["Session"] = []
"""The sessions of this process; the last one records, the others wait until it stops."""


def start(folder: Path, options: Options, role: str, header: Header = describe_header) -> "Session":
    """Begin to record this process into the folder of a trace, which has a trace.json.

    role: of the calling thread, see `StreamInfo`. header: returns the header of a stream when it
    is made. A session that records already waits until the new one stops.
    """
    if _sessions:
        _sessions[-1].suspend()
    session = Session(folder, options, role, header)
    _sessions.append(session)
    session.resume()
    return session


def _leave_fork() -> None:
    for session in _sessions:
        session.leave()


os.register_at_fork(after_in_child=_leave_fork)


def current() -> "Session | None":
    """Return the session that records this process, if any."""
    return _sessions[-1] if _sessions else None


class Session(Shared):
    """A recording of this process.

    Attributes:
        stopped: True while nothing is recorded.
    """

    def __init__(self, folder: Path, options: Options, role: str, header: Header) -> None:
        super().__init__(folder, options, header)
        self.stopped = True
        self._pid = os.getpid()
        self._manual = False  # True once `nondet.step` was called
        self._patches = Patches()
        self._hook: Any = None
        main = self.begin_thread(self.name_role(role))
        main.stream.open()  # there even if it stays empty

    def resume(self) -> None:
        """Begin to record, or go on."""
        self.stopped = False
        patches = self._patches
        for follow in (
            *(follow_modules, follow_seeds, follow_settings, follow_loaders, follow_optimizers),
            *(follow_threads, follow_graphs, follow_exposures),
        ):
            follow(self, patches)
        self._hook = register_optimizer_step_post_hook(self._optimizer_stepped)
        if self.options.eager:
            torch.compiler.set_stance("force_eager")
        self.table.forget()
        recorder = self.find_recorder()
        if recorder is not None:
            self._choose(recorder)

    def suspend(self) -> None:
        """Stop to record for a while; another session may record meanwhile."""
        self.stopped = True
        self._hook.remove()
        self._patches.undo()
        for finder in self.finders:
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
        self.finders.clear()
        if self.options.eager:
            torch.compiler.set_stance("default")
        own = self.find_recorder()
        for recorder in self.recorders:
            if recorder is own:
                recorder.switch(False)
            else:
                recorder.disable()

    def stop(self) -> None:
        """Stop to record and close all files. Stopping twice does nothing."""
        if self not in _sessions or os.getpid() != self._pid:
            return
        if _sessions[-1] is self:
            self.suspend()
        for recorder in self.recorders:
            recorder.close()
        last = _sessions[-1] is self
        _sessions.remove(self)
        if last and _sessions:
            outer = _sessions[-1]
            outer.resume()
            recorder_of_outer = outer.find_recorder()
            if recorder_of_outer is not None:
                what = f"what was recorded into {self.folder} meanwhile"
                recorder_of_outer.stream.unseen(Unseen("trace", what))

    def after_fork(self, role: str) -> None:
        """Go on in a process that was just forked, as another stream; call it in the child."""
        self._pid = os.getpid()
        own = self.find_recorder()
        self.recorders.clear()
        self.streams.clear()
        self.table.forget()
        self.roles.clear()
        role = self.name_role(role)
        if own is None:
            own = self.begin_thread(role)
        else:
            own.switch(False)
            self.recorders.append(own)
            own.open(role)
        if _sessions[-1:] == [self]:
            self.stopped = False
            self._choose(own)

    def leave(self) -> None:
        """Stop to record in a process that was just forked, until `after_fork` is called."""
        if os.getpid() != self._pid:
            self.stopped = True
            for recorder in self.recorders:
                recorder.disable()

    def begin_thread(self, role: str) -> Recorder:
        """Give this thread a recorder."""
        recorder = Recorder(self, role)
        recorder.attach(Dispatch(recorder))
        self.local.recorder = recorder
        self.recorders.append(recorder)
        if len(self.recorders) > 1:
            for each in self.streams:
                each.digests.share()
        if not self.stopped:
            self._choose(recorder)
        return recorder

    def end_thread(self, recorder: Recorder) -> None:
        """Close the stream of this thread, which ends."""
        recorder.switch(False)
        self.local.recorder = None
        if recorder in self.recorders:
            self.recorders.remove(recorder)
            recorder.close()

    def step(self) -> None:
        """End the step of this thread; from now on, steps of optimizers do not count."""
        self._manual = True
        self._end_step()

    def _optimizer_stepped(self, *_: Any) -> None:
        if not self._manual and not torch.compiler.is_compiling():
            self._end_step()

    def _end_step(self) -> None:
        recorder = self.find_recorder()
        if recorder is None or self.stopped:
            return
        try:
            recorder.end_step()
            self._choose(recorder)
        except Exception as error:
            recorder.fail(error)

    def _choose(self, recorder: Recorder) -> None:
        """Record the step that begins, or do not."""
        number = recorder.stream.number
        first, last = self.options.steps or (0, number)
        wanted = first <= number <= last and number % self.options.every == 0
        if wanted and recorder.off:
            self.table.forget(recorder.stream)
        recorder.switch(wanted)
