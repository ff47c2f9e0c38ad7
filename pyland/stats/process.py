# SPDX-License-Identifier: GPL-2.0-only
"""The process that serves statistics. It makes no decisions, and it has no rights of root.

A process of its own is the safest choice. The supervisor must never be busy with clients, because
it watches the worker. The reporter may wait for a disk or terminal, and keeps root's rights for its
streams. This process has no rights, no descriptor but its sockets, a low priority, and a bounded
part of one CPU. If it is killed, the supervisor starts another; if it is stopped, only statistics
stop.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from pyland._native import lib
from pyland.errors import UsageError
from pyland.output.printing import escape
from pyland.stats import openmetrics, scx_stats
from pyland.stats.listening import Listening
from pyland.stats.server import CLIENTS_MAX, Server
from pyland.stats.snapshot import Source
from pyland.supervisor import loader, privileges
from pyland.supervisor.confined import close_all_but
from pyland.supervisor.descendants import ended, reap, started

_AGAIN_S = 1.0
"""The least time in seconds between two starts; it doubles with each."""
_AGAIN_MAX_S = 60.0
_KILLED_WITHIN_S = 0.2
_NICENESS = 5
_USER = 65533
"""No other process has this user, so none without root's rights can send it a signal."""
_WORDS_MAX = 500
_NAME_MAX = 200
_NO_PROCESS = -1


class StatisticsProcess:
    """The supervisor's handle on the process; without sockets there is no process."""

    def __init__(self, listening: Listening, source: Source, state: Any) -> None:
        """`state` is the state that root maps. Nothing runs before `start`."""
        self._listening, self._source, self._state = listening, source, state
        self._build = openmetrics.build_labels() if listening.metrics else {}
        self._again_s, self._pause_s = 0.0, _AGAIN_S
        self._trouble = ""
        self._pid = 0
        self._runs = False

    def start(self) -> None:
        """Start to serve; the source's counters and policy are those of this moment."""
        if self._listening:
            self._fork()

    def policy_is(self, name: str) -> None:
        """Tell the process that another policy has taken over."""
        self._source.policy = name[:_NAME_MAX]
        if self._runs:
            with suppress(OSError):  # it has ended, or reads nothing
                os.write(self._names, self._source.policy.encode() + b"\n")

    def mend(self, now_s: float) -> str:
        """Start another process if this one has ended; a line about it, or an empty text."""
        if not self._pid or (self._runs and not self._has_ended()):
            return ""
        if self._runs:
            self._runs = False
            self._wait(now_s)
            return self._last_words()
        if now_s >= self._again_s:
            self._fork()
        told, self._trouble = self._trouble, ""
        return told

    def close(self) -> None:
        """End the process at once: no answer is worth waiting for."""
        if not self._runs:
            return
        self._runs = False
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        reap(self._pid, self._pidfd, _KILLED_WITHIN_S)
        self._close_descriptors()

    def _fork(self) -> None:
        names, self._names = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._words, words = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._pid = os.fork()
        except OSError as error:  # there are too many processes; `mend` tries again
            for descriptor in (names, self._names, self._words, words):
                os.close(descriptor)
            self._pid = _NO_PROCESS
            self._wait(time.monotonic())
            self._trouble = f"pyland: no process can serve statistics: {error.strerror}"
            return
        if self._pid == 0:
            _live(self._listening, self._source, self._state, self._build, names, words)
        started(self._pid)
        os.close(names)
        os.close(words)
        self._pidfd = os.pidfd_open(self._pid)
        self._runs = True

    def _wait(self, now_s: float) -> None:
        self._again_s = now_s + self._pause_s
        self._pause_s = min(self._pause_s * 2, _AGAIN_MAX_S)

    def _has_ended(self) -> bool:
        try:
            if os.waitpid(self._pid, os.WNOHANG)[0] == 0:
                return False
        except ChildProcessError:
            pass
        ended(self._pid)
        return True

    def _last_words(self) -> str:
        why = b""
        with suppress(OSError):
            why = os.read(self._words, _WORDS_MAX)
        self._close_descriptors()
        told = escape(why.decode(errors="replace")) or "it was killed"
        return f"pyland: the process that serves statistics has ended ({told}): another follows"

    def _close_descriptors(self) -> None:
        for descriptor in (self._names, self._words, self._pidfd):
            os.close(descriptor)


def _live(
    listening: Listening,
    source: Source,
    state: Any,
    build: Mapping[str, str],
    names: int,
    words: int,
) -> NoReturn:
    """Serve until the supervisor ends."""
    try:
        signal.set_wakeup_fd(-1)
        # A terminal sends Ctrl-C to all processes. This one ends only with the supervisor.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        lib.pyland_die_with_parent()
        sockets = [one for one in (listening.stats, listening.metrics) if one is not None]
        # An open descriptor could keep a scheduler attached or let a client wait.
        close_all_but([*(one.fileno() for one in sockets), names, words])
        _give_up_rights(source, state)
        source.histograms.begin()
        server = Server()
        if listening.stats is not None:
            server.listen(listening.stats, lambda: scx_stats.Session(source))
        if listening.metrics is not None:
            server.listen(listening.metrics, lambda: openmetrics.Session(source, build))
        server.wake_at(names)
        while True:
            if server.turn() and not _take_names(names, source):
                break
    except BaseException as error:  # noqa: BLE001 - it must not return into the caller's code
        with suppress(BaseException):
            os.write(words, f"{type(error).__name__}: {error}".encode()[:_WORDS_MAX])
    finally:
        os._exit(0)


def _give_up_rights(source: Source, state: Any) -> None:
    """Give up all rights but to read; raises UsageError if that is not possible."""
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = CLIENTS_MAX + 64
        if hard != resource.RLIM_INFINITY:
            hard = max(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with suppress(OSError):
        os.nice(_NICENESS)
    source.counters.keep_open()
    if os.geteuid() == 0:
        if lib.pyland_drop_privileges(_USER, _USER):
            raise UsageError(loader.error())
        privileges.leave_surroundings()
    if state and lib.pyland_protect_state(state):
        raise UsageError(loader.error())
    lib.pyland_confine(False)


def _take_names(names: int, source: Source) -> bool:
    """Take the policy's newest name; False if the supervisor has ended."""
    try:
        data = os.read(names, 1 << 16)
    except BlockingIOError:
        return True
    *_, last = data.rstrip(b"\n").split(b"\n")
    if last:
        source.policy = last.decode(errors="replace")
    return bool(data)
