# SPDX-License-Identifier: GPL-2.0-only
"""Watches over the worker: its end, its policy's failures, the user's signals and requests."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

from pyland.errors import ScheduleError, UsageError
from pyland.kernel import guard, memory, privileges
from pyland.kernel.complaints import Complaints
from pyland.kernel.control import ControlServer, Request, StatusRequest
from pyland.kernel.counters import TOTALS, Counters
from pyland.kernel.loader import LoadedScheduler
from pyland.kernel.progress import LOOK_EVERY_S, Progress
from pyland.kernel.reporter import Reporter
from pyland.kernel.worker import LAST_RESORT, MESSAGE_MAX, Wanted

_COMPLAIN_EVERY_S = 1.0
_END_WITHIN_S = 0.7
"""A worker that was asked to end and has not is killed after this: Ctrl-C takes a second."""
_START_WITHIN_S = 60.0
_GIVE_UP_S = 5.0
"""A policy that an interrupt does not bring back (it is in C code) has its process killed."""


@dataclass(frozen=True)
class Ended:
    """How a worker ended when nothing was wrong."""

    reason: str
    again: bool = False


class Signals:
    """SIGINT, SIGTERM and SIGHUP, to be polled for together with everything else."""

    def __init__(self) -> None:
        """Nothing is caught before the `with` block."""
        self._before: dict[int, Any] = {}
        self.got = 0

    def __enter__(self) -> Self:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.got = number

    def fileno(self) -> int:
        """Readable after a signal."""
        return self._reading

    def descriptors(self) -> tuple[int, int]:
        """What a forked child has no use for."""
        return self._reading, self._writing

    def drain(self) -> None:
        """Make it unreadable again."""
        with suppress(BlockingIOError):
            os.read(self._reading, 512)

    def abandon(self) -> None:
        """Close the descriptors, here or in a forked child."""
        signal.set_wakeup_fd(-1)
        with suppress(OSError):
            os.close(self._reading)
            os.close(self._writing)


class Supervisor:
    """One worker's overseer."""

    def __init__(
        self,
        pid: int,
        channel: socket.socket,
        scheduler: LoadedScheduler,
        counters: Counters,
        reporter: Reporter,
        *,
        wanted: Wanted,
        started: str,
    ) -> None:
        """`wanted` is the policy that the worker was started with."""
        self.wanted = wanted
        self.swaps = 0
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._channel = channel
        channel.setblocking(False)
        self._scheduler = scheduler
        self._state = scheduler.state
        self._counters = counters
        self._reporter = reporter
        self._started = started
        self._complaints = Complaints()
        self._progress = Progress(pid)
        self._policy = ""
        self._options: dict[str, Any] = {}
        self._failures = 0
        self._begin_s = time.monotonic()
        self._stop_by_s = self._complain_s = 0.0
        self._last_words: dict[str, Any] = {}
        self._asked: list[tuple[Request, Wanted]] = []
        self._done: list[tuple[Request, Mapping[str, Any]]] = []
        self._reaped = False
        self._totals: dict[str, int] | None = None

    def watch(self, control: ControlServer, signals: Signals) -> Ended:
        """Until the worker has ended; raises UsageError or ScheduleError if not as wanted."""
        own = [self._pidfd, self._channel.fileno(), signals.fileno()]
        polled: list[int] = []
        # Four times a second nothing is ready: what is done then is a part of what pyland costs.
        while True:
            if (sources := own + control.sources()) != polled:
                polled, poll = sources, select.poll()
                for source in sources:
                    poll.register(source, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(LOOK_EVERY_S * 1000)}
            now_s = time.monotonic()
            if signals.fileno() in ready:
                signals.drain()
            if signals.got and not self._stop_by_s:
                self._stop_by_s = now_s + _END_WITHIN_S
                self._signal(signal.SIGTERM)
            if self._channel.fileno() in ready or self._pidfd in ready:
                self._hear()
            if self._pidfd in ready:
                return self._ended(signals)
            for fd in ready.difference(own):
                control.handle(fd, now_s)
            control.expire(now_s)
            for request in control.requests():
                self._answer(control, request)
            self._look(now_s)
            for request, answer in self._done:
                control.answer(request, answer)
            self._done.clear()

    def kill(self) -> None:
        """End the worker if it is still there, and count for the last time."""
        if self._reaped:
            return
        self._signal(signal.SIGKILL)
        select.select([self._pidfd], [], [])
        self._totals = self._counters.read()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._reaped = True

    def totals(self) -> dict[str, int]:
        """What was counted, by the names of `TOTALS`; the worker must have been killed."""
        values = self._totals or {}
        return {name: values.get(name, 0) for name in TOTALS}

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _hear(self) -> None:
        while True:
            try:
                text = self._channel.recv(MESSAGE_MAX)
            except OSError:
                return
            if not text:
                return
            with suppress(ValueError):
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind in ("started", "swapped", "replaced"):
            self._policy, self._options = message["policy"], message["options"]
            self._complaints.start_anew(self._counters.counts())
        if kind == "started":
            self._counters.start_counting_faults()
            locked = memory.locked_mib(self._pid)
            self._reporter.started(
                f"pyland: scheduling with {self._policy} {self._started}, {locked:.0f} MiB locked"
            )
        elif kind == "failure":
            self._failures += 1
            self._reporter.say(f"pyland: policy {message['policy']}: {message['report']}")
        elif kind == "replaced":
            self.wanted = Wanted(LAST_RESORT, (), "/")
            self._reporter.say(
                f"pyland: policy {message['failed']} failed {message['failures']} times within "
                f"{guard.WINDOW_S:g} s: going on with {self._policy}"
            )
        elif kind in ("swapped", "swap refused"):
            self._swap_done(message)
        else:
            self._last_words = message

    def _ended(self, signals: Signals) -> Ended:
        shared, words = self._state.shared, self._last_words
        kind, how = words.get("kind"), words.get("how")
        self.kill()
        if kind in ("refused", "broken") and not self._policy:
            raise UsageError(words["error"])
        if kind in ("refused", "broken"):
            raise ScheduleError(f"policy {self._policy}: {words['error']}")
        if kind == "strict":
            raise ScheduleError(f"policy {words['policy']} failed, and --strict was given")
        if how == "KERNEL":
            end = self._scheduler.exit()
            if end.wants_restart and not signals.got:
                return Ended("", again=True)
            if not end.wants_restart:
                raise ScheduleError(f"the kernel ended it: {end}", end.dump)
        if how == "RING":
            broken = os.strerror(shared.drain_error)
            raise ScheduleError(f"the ring of decisions is broken: {broken}")
        if how == "SIGNAL" or signals.got:
            return Ended("stopped by a signal")
        raise ScheduleError(f"policy {self._policy}: the process that runs it died")

    def _look(self, now_s: float) -> None:
        """What nobody tells: a worker that does not end, start, or come back."""
        if self._stop_by_s:
            if now_s > self._stop_by_s:
                self._signal(signal.SIGKILL)
            return
        if not self._policy:
            if now_s - self._begin_s > _START_WITHIN_S:
                raise UsageError(
                    f"policy {self.wanted.spec} was not constructed within {_START_WITHIN_S:g} s"
                )
            return
        self._progress.look(self._state.user.cycles, now_s)
        if self._progress.stuck_s > guard.TOO_LONG_S + _GIVE_UP_S:
            raise ScheduleError(f"policy {self._policy} does not return and cannot be interrupted")
        if self._progress.busy_s > guard.TOO_LONG_S:
            self._signal(guard.INTERRUPT)
        if held_by := self._progress.news():
            self._reporter.say(
                f"pyland: the process that decides is {held_by}: tasks are scheduled without it"
            )
        if now_s < self._complain_s:
            return
        self._complain_s = now_s + _COMPLAIN_EVERY_S
        for complaint in self._complaints.new(self._counters.counts()):
            self._reporter.say(f"pyland: policy {self._policy}: {complaint}")

    def _answer(self, control: ControlServer, request: Request) -> None:
        if isinstance(request.what, StatusRequest):
            control.answer(request, {"ok": True, "status": self.status()})
            return
        swap = request.what
        wanted = self.wanted
        if not swap.reload and swap.policy is not None:
            wanted = Wanted(swap.policy, tuple(swap.options), swap.folder)
        if not self._policy or self._stop_by_s:
            control.answer(request, {"ok": False, "error": "pyland is not scheduling now"})
            return
        message = {
            "policy": wanted.spec,
            "options": wanted.given,
            "folder": wanted.folder,
            "reload": swap.reload,
        }
        try:
            self._channel.send(json.dumps(message).encode())
        except OSError:
            control.answer(request, {"ok": False, "error": "too many swaps at once"})
            return
        self._asked.append((request, wanted))
        self._state.user.request += 1

    def _swap_done(self, message: dict[str, Any]) -> None:
        if not self._asked:
            return
        request, wanted = self._asked.pop(0)
        if message["kind"] == "swap refused":
            self._done.append((request, {"ok": False, "error": message["error"]}))
            return
        self.wanted = wanted
        self.swaps += 1
        self._done.append((request, {"ok": True, **message}))

    def status(self) -> dict[str, Any]:
        """What `pyland status` shows."""
        counts = self._counters.read()
        return {
            "policy": self._policy,
            "as": self.wanted.spec,
            "options": self._options,
            "process": {"pid": self._pid, **privileges.described(self._pid)},
            "scheduling": f"{time.monotonic() - self._begin_s:.0f} s",
            "failures reported": self._failures,
            "swaps": self.swaps,
            "counters": {name: counts[name] for name in TOTALS},
        }
