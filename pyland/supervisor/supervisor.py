# SPDX-License-Identifier: GPL-2.0-only
"""Root's side of one attachment: attaches, watches the worker, answers clients, and ends it.

It runs no policy code, and it does not trust what a process with policy code says or writes. For
example, it reads from memory that only BPF writes whether the kernel has ended the scheduler.
"""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from pyland.engine import guard, memory
from pyland.errors import ScheduleError, UsageError
from pyland.host.affinity import Confinement
from pyland.loading.wanted import LAST_RESORT, Wanted
from pyland.output.printing import INFO, WARNING, escape
from pyland.stats.counters import TOTALS, Counters
from pyland.stats.process import StatisticsProcess
from pyland.supervisor import descendants, messages, privileges
from pyland.supervisor.complaints import Complaints
from pyland.supervisor.confined import ConfinedCall
from pyland.supervisor.control import ControlServer, Request, StatusRequest, SwapRequest
from pyland.supervisor.ending import Ended, how_ended
from pyland.supervisor.loader import LoadedScheduler
from pyland.supervisor.progress import LOOK_EVERY_S, LOOK_WHEN_QUIET_S, Progress
from pyland.supervisor.reporter import Reporter
from pyland.supervisor.service import Service, told
from pyland.supervisor.signals import Signals
from pyland.supervisor.swaps import Swaps
from pyland.supervisor.worker_process import WorkerProcess

_COMPLAIN_EVERY_S = 1.0
_END_WITHIN_S = 0.7
"""Seconds until a worker that does not end on request is killed: pyland ends within a second."""
_KILLED_WITHIN_S = 1.0
"""Seconds to wait for a killed worker; the kernel may hold it longer (a disk, a freezer)."""
_START_WITHIN_S = 60.0
_GIVE_UP_S = 5.0
"""Seconds after which pyland ends if interrupts do not end the call, for example in C code."""
_SAID_EACH_SECOND = 50
"""The most lines that a policy may cause in a second; further lines are dropped."""


class Supervisor:
    """Watches one attachment."""

    def __init__(
        self,
        worker: WorkerProcess,
        scheduler: LoadedScheduler,
        counters: Counters,
        reporter: Reporter,
        statistics: StatisticsProcess,
        service: Service,
        *,
        wanted: Wanted,
        started: str,
        start_trial: Callable[[Wanted, bool], ConfinedCall],
    ) -> None:
        """`wanted` is the policy that the worker runs; `started` describes the machine."""
        self.wanted = wanted
        self._worker = worker
        self._scheduler = scheduler
        self._state = scheduler.state
        self._counters = counters
        self._reporter = reporter
        self._statistics = statistics
        self._service = service
        self._started = started
        self._done: list[tuple[Request, Mapping[str, Any]]] = []
        self._swaps = Swaps(worker, self._state.user, start_trial, self._note_answer)
        self._complaints = Complaints()
        self._progress = Progress(worker.pid)
        self._confinement = Confinement(worker.pid)
        self._policy = ""
        self._attached = False
        self._options: messages.Options = {}
        self._failures = self._said = 0
        self._begin_s = time.monotonic()
        self._stop_by_s = self._look_s = self._complain_s = 0.0
        self._last_words: messages.WorkerMessage | None = None

    @property
    def swaps(self) -> int:
        """How many swaps were made."""
        return self._swaps.done

    def watch(self, control: ControlServer, signals: Signals) -> Ended:
        """Watch until the attachment ends; raises UsageError or ScheduleError after a failure."""
        worker = self._worker
        own = [worker.pidfd, signals.fileno()]
        polled: list[int] = []
        # Most turns find nothing ready, so each line of such a turn adds to pyland's cost.
        while True:
            sources = own + self._worker_sources() + control.sources() + self._swaps.sources()
            if sources != polled:
                polled, poll = sources, select.poll()
                for source in sources:
                    poll.register(source, select.POLLIN)
            quiet = self._state.shared.quiet and not self._stop_by_s
            look_after_s = LOOK_WHEN_QUIET_S if quiet else LOOK_EVERY_S
            ready = {fd for fd, _ in poll.poll(look_after_s * 1000)}
            now_s = time.monotonic()
            if signals.fileno() in ready:
                signals.drain()
            if signals.got and not self._stop_by_s:
                self._stop_by_s = now_s + _END_WITHIN_S
                worker.signal(signal.SIGTERM)
            if not ready.isdisjoint((worker.channel.fileno(), worker.output, worker.pidfd)):
                self._hear()
            if ended := self._ended(signals, died=worker.pidfd in ready):
                return ended
            if self._stop_by_s and now_s > self._stop_by_s + _KILLED_WITHIN_S:
                return Ended("stopped by a signal")
            for fd in ready.difference(own):
                control.handle(fd, now_s)
            control.expire(now_s)
            if self._attached and signals.take_reload():
                self._answer(Request(SwapRequest()))
            for request in control.requests():
                self._answer(request)
            self._look(now_s)
            self._service.alive(now_s, attached=self._attached)
            self._reporter.mend(now_s)
            if news := self._statistics.mend(now_s):
                self._reporter.say(news)
            self._swaps.go_on(self.wanted)
            for request, answer in self._done:
                control.answer(request, answer)
            self._done.clear()

    def close(self, control: ControlServer) -> dict[str, int]:
        """Answer the clients that still wait; returns the counters by the names of `TOTALS`."""
        self._swaps.close()
        for request, answer in self._done:
            control.answer(request, answer)
        values = self._counters.read()
        return {name: values.get(name, 0) for name in TOTALS}

    def _worker_sources(self) -> list[int]:
        """The worker's descriptors to poll; none until the next second if it has said too much.

        While the supervisor waits for a message of the worker, all messages before it are read.
        """
        waits = self._swaps.is_at_worker or not self._attached
        return [] if self._said > _SAID_EACH_SECOND and not waits else self._worker.sources()

    def _note_answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        self._done.append((request, answer))
        if request.connection is None:
            self._reporter.say(told(answer), INFO if answer["ok"] else WARNING)
        if isinstance(request.what, SwapRequest) and self._attached:
            self._service.ready(self._doing)  # also after a reload that was refused

    def _hear(self) -> None:
        for message in self._worker.hear():
            self._said += 1
            if message is not None:
                self._take(message)
        for line in self._worker.printed():
            name = self._policy or self.wanted.spec
            self._say(f"pyland: policy {name} printed: {escape(line)}", INFO)

    def _say(self, text: str, level: int = WARNING) -> None:
        self._said += 1
        if self._said <= _SAID_EACH_SECOND:
            self._reporter.say(text, level)

    def _take(self, message: messages.WorkerMessage) -> None:
        match message:
            case messages.Ready():
                if not self._attached and message.order == self._worker.rings_order:
                    self._attach(message)
            case messages.Failure():
                self._failures += 1
                self._say(messages.told(message, self._policy))
            case messages.Replaced():
                self._changed(message.policy, message.options)
                self.wanted = LAST_RESORT
                self._say(messages.told(message, self._policy))
            case messages.PartReplaced():
                # Only a known name: the policy's process could send any number of new ones.
                if (name := f"part {message.part}") in self._options:
                    self._options[name] = message.policy
                self._say(messages.told(message, self._policy))
            case messages.Edited():
                self._say(messages.told(message, self._policy))
            case messages.Swapped():
                made = self._swaps.swapped(message)
                if made and made.layer:
                    self._options = message.options
                elif made and made.wanted is not None:
                    self.wanted = made.wanted
                    self._changed(message.policy, message.options)
            case messages.SwapRefused():
                self._swaps.refused(message)
            case messages.Stopped(how="KERNEL"):
                pass  # the kernel itself says so; this may be about the attachment before
            case _:
                self._last_words = message

    def _attach(self, ready: messages.Ready) -> None:
        self._scheduler.attach()
        self._attached = True
        self._worker.go()
        # Start again: the time of the constructor does not count for the first call.
        self._progress = Progress(self._worker.pid)
        self._changed(ready.policy, ready.options)
        self._counters.start_counting_faults()
        self._statistics.start()
        locked = memory.locked_mib(self._worker.pid)
        self._reporter.started(f"pyland: {self._doing} {self._started}, {locked:.0f} MiB locked")
        if not ready.confined:
            self._reporter.say("pyland: the kernel filters no system calls: the policy may use all")

    @property
    def _doing(self) -> str:
        return f"scheduling with {self._policy}"

    def _changed(self, policy: str, options: messages.Options) -> None:
        self._policy, self._options = escape(policy), options
        self._service.ready(self._doing)
        self._statistics.policy_is(self._policy)
        self._complaints.start_anew(self._counters.counts())

    def _ended(self, signals: Signals, *, died: bool) -> Ended | None:
        name, words, attached = self._policy or self.wanted.spec, self._last_words, self._attached
        return how_ended(self._scheduler, words, signals, name, attached=attached, died=died)

    def _look(self, now_s: float) -> None:
        """Look for what no message says: a worker that does not end, start, or return."""
        worker = self._worker
        if now_s - self._look_s > 1:
            self._look_s, self._said = now_s, 0
            descendants.reap_adopted()
        if self._stop_by_s:
            if now_s > self._stop_by_s:
                worker.signal(signal.SIGKILL)
            return
        self._progress.look(self._state.user.cycles, now_s)
        if held_by := self._progress.news():
            self._reporter.say(
                f"pyland: the process that decides is {held_by}: tasks are scheduled without it"
            )
        if not self._attached:
            took_s = self._progress.busy_s
            if took_s > _START_WITHIN_S:
                raise UsageError(
                    f"policy {self.wanted.spec} was not constructed within {_START_WITHIN_S:g} s"
                )
            if took_s > guard.SWAP_TOO_LONG_S:
                worker.signal(guard.INTERRUPT)  # it has an effect only after a restart
            return
        if not self._swaps.look(now_s):
            raise ScheduleError(f"policy {self._policy}: the process that runs it takes no orders")
        swapping = self._swaps.is_at_worker
        too_long_s = guard.SWAP_TOO_LONG_S if swapping else guard.TOO_LONG_S
        if self._progress.stuck_s > too_long_s + _GIVE_UP_S:
            wanted = self._swaps.wanted if swapping else None
            name = wanted.spec if wanted else self._policy
            raise ScheduleError(f"policy {name} does not return and cannot be interrupted")
        if self._progress.busy_s > too_long_s:
            worker.signal(guard.INTERRUPT)
        if now_s < self._complain_s:
            return
        self._complain_s = now_s + _COMPLAIN_EVERY_S
        if missing := self._confinement.news():
            self._reporter.say(f"pyland: {missing}")
        for complaint in self._complaints.new(self._counters.counts()):
            self._reporter.say(f"pyland: policy {self._policy}: {complaint}")

    def _answer(self, request: Request) -> None:
        if isinstance(request.what, StatusRequest):
            self._note_answer(request, {"ok": True, "status": self.status()})
        elif not self._attached or self._stop_by_s:
            self._note_answer(request, {"ok": False, "error": "pyland is not scheduling now"})
        else:
            if request.what.wanted is None:
                self._service.reloading()
            self._swaps.add(request, request.what, self.wanted)

    def status(self) -> dict[str, Any]:
        """The state that `pyland status` shows."""
        counts = self._counters.read()
        return {
            "policy": self._policy,
            "as": self.wanted.spec,
            "options": self._options,
            "process": {"pid": self._worker.pid, **privileges.described(self._worker.pid)},
            "scheduling": f"{time.monotonic() - self._begin_s:.0f} s",
            "failures reported": self._failures,
            "swaps": self.swaps,
            "counters": {name: counts[name] for name in TOTALS},
        }
