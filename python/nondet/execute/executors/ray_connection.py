"""Connect to a Ray cluster, or start a Ray on this machine that nobody else can use."""

import atexit
import importlib.metadata
import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from nondet.execute.executors.deadlines import Caller, causes_of
from nondet.execute.executors.executor import ExecutorError
from nondet.execute.executors.processors import available_processors

OLDEST = (2, 59)
"""The first version of Ray that asks for a token unless told otherwise, and whose services listen
on the address of the node alone."""

LOST: list[str] = []
"""Connections of this process that no longer answered, by name."""

_REACH_SECONDS = 10.0  # that a connection to the address may take
_LOOK_SECONDS = 30.0  # that it may take with its name
_CONNECT_SECONDS = 60.0  # for which a cluster may think about a client
_START_SECONDS = 180.0  # for which a Ray may take to start
_END_SECONDS = 30.0  # for which it may take to end

_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Without clusters, Ray takes the loopback address for that of the node, on every system."""

_PROBE = "nondet.execute.executors.ray_probe"

_PREFIX = re.compile(r"^\[[^]]*\] (\S+:[0-9]+: *)?")
"""What stands before the messages of Ray's log: time, level, process, line."""

_LAST_PORT = 65535

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_MODE = "RAY_AUTH_MODE"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def check_installed() -> None:
    """Raise ImportError if Ray is not installed, or is older than `OLDEST`."""
    if importlib.util.find_spec("ray") is None:
        raise ImportError("Ray is not installed; pip install 'nondet[ray]' installs it")
    version = importlib.metadata.version("ray")
    major, minor, *_ = (*version.split("."), "0")
    if (int(major), int(minor)) < OLDEST:
        raise ImportError(
            f"Ray {version} is installed, which lets anybody run code who reaches it; nondet needs "
            f"{OLDEST[0]}.{OLDEST[1]} or later: pip install 'nondet[ray]' installs it"
        )


class Connection:
    """The connection of this process to Ray.

    address: of a cluster, as for `ray.init`; None to start a Ray on this machine, with `processors`
    processors or all that may be used. lost: True if Ray no longer answers. within: as
    `Caller.within`.
    """

    def __init__(self, address: str | None, processors: int | None) -> None:
        self.address = address
        self.lost = False
        self._caller = Caller()
        self.within = self._caller.within
        self._processors = processors
        self._opened = False
        self._had_mode = True

    @property
    def name(self) -> str:
        """Return which Ray this is, in words."""
        return f"Ray at {self.address!r}" if self.address is not None else "the Ray of this machine"

    @cached_property
    def ray(self) -> Any:
        """The package. It reads these variables when it is imported."""
        # Send no usage reports, and leave CUDA_VISIBLE_DEVICES of tasks without GPUs as it is.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if self.address is None:
            os.environ.setdefault(_CLUSTER, "0")
        import ray

        return ray

    def open(self) -> None:
        """Connect, or start a Ray; a connection that this process has already is used.

        Raises ExecutorError.
        """
        if self.ray.is_initialized():
            return
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            self._start(quiet)
        else:
            address = self.address
            looking = f"looking for {self.name}"
            self.within(_LOOK_SECONDS, looking, lambda: _reach(address))
            reason = probe(self.address, _CONNECT_SECONDS)
            if reason is not None:
                raise ExecutorError(f"cannot connect to {self.name}: {reason}")
            self._init(f"connect to {self.name}", _CONNECT_SECONDS, address=self.address, **quiet)
        self._opened = True

    def close(self) -> None:
        """Disconnect; end a Ray that was started."""
        if self._opened:
            self._opened = False
            try:
                if self.lost:
                    raise ExecutorError("it no longer answers")
                self.within(_END_SECONDS, "ending Ray", self.ray.shutdown)
            except ExecutorError:
                LOST.append(self.name)
                atexit.unregister(self.ray.shutdown)  # it would wait for what does not answer
            if self.address is None and not self._had_mode:
                os.environ.pop(_MODE, None)  # Ray has set it, and would ask other clusters too
        self._caller.end()

    def _start(self, quiet: dict[str, Any]) -> None:
        if not self.ray.util.get_node_ip_address().startswith(("127.", "::1")):
            raise ExecutorError(
                "cannot keep Ray to this machine, because it was imported before: import it later, "
                f"set {_CLUSTER}=0 before, or connect to a Ray of your own"
            )
        self._had_mode = _MODE in os.environ
        token = None if _has_token() else _own_token()
        if token is not None:
            os.environ["RAY_AUTH_TOKEN"] = token
        try:
            self._init(
                "start Ray",
                _START_SECONDS,
                address="local",
                num_cpus=self._processors or available_processors(),
                include_dashboard=False,
                **quiet,
            )
        finally:
            if token is not None:
                os.environ.pop("RAY_AUTH_TOKEN", None)

    def _init(self, doing: str, seconds: float, **settings: Any) -> None:
        try:
            self.within(seconds, doing, lambda: self.ray.init(**settings))
        except Exception as error:
            if isinstance(error, ExecutorError):
                atexit.unregister(self.ray.shutdown)
            raise ExecutorError(f"cannot {doing}: {causes_of(error)}") from error


def probe(address: str, seconds: float) -> str | None:
    """Return why a cluster cannot be used; None if it has answered within so many seconds.

    address: as for `ray.init`. Another process tries, because only a process can be ended.
    """
    command = [sys.executable, "-m", _PROBE, address]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        status: int | None = None
        try:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=seconds)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        lines = [_PREFIX.sub("", line) for line in log.read().splitlines() if line.strip()]
    if status is None:
        said = f"; Ray said: {lines[0]}" if lines else ""
        return f"it has not answered within {seconds:g} s{said}"
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError):  # Ray has ended the process
        last = lines[-1] if lines else "no output"
        return f"Ray ended the process that connected to it, with status {status}: {last}"
    return None if answer is None else str(answer)


def _reach(address: str) -> None:
    """Raise ExecutorError if nothing listens at an address HOST:PORT; others are not tried."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        return
    if int(port) > _LAST_PORT:
        raise ExecutorError(f"no Ray at {address!r}: there is no port above {_LAST_PORT}")
    # Ray takes the loopback address for that by which other machines know this one.
    hosts = (host, own) if host in _LOOPBACK and (own := _own_address()) else (host,)
    problems = []
    for each in hosts:
        try:
            socket.create_connection((each, int(port)), timeout=_REACH_SECONDS).close()
        except OSError as error:
            problems.append(error.strerror or str(error))
        else:
            return
    raise ExecutorError(f"no Ray at {address!r}: {problems[0]}")


def _own_address() -> str | None:
    """Return the address of this machine on its default route, if it has one."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect(("192.0.2.1", 9))  # which sends nothing
        address: str = route.getsockname()[0]
        return address
    return None


def _has_token() -> bool:
    """Return True if the user has a token, which Ray then takes."""
    if any(os.environ.get(name) for name in _TOKENS):
        return True
    with suppress(RuntimeError):  # there is no home
        return (Path.home() / ".ray" / "auth_token").is_file()
    return False


@cache
def _own_token() -> str:
    """Return a token of this process, which Ray would otherwise leave in the user's home."""
    return secrets.token_hex(32)
