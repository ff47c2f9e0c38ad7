# SPDX-License-Identifier: GPL-2.0-only
"""The process that schedules: it runs the policy, and in the end is nobody.

It prints nothing and waits for nobody: all it has to say goes to the supervising
process, in messages that are dropped when there is no room.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pyland import telling
from pyland.caller import calling_user, policy_user
from pyland.errors import UsageError
from pyland.finder import Choice, choose
from pyland.kernel import guard, memory, privileges
from pyland.kernel._native import lib
from pyland.kernel.loader import LoadedScheduler
from pyland.kernel.loop import DispatchLoop, Stop
from pyland.kernel.machine import KernelMachine
from pyland.kernel.settings import Settings
from pyland.policies import BUILTINS
from pyland.policy import Policy
from pyland.topology import Topology

MESSAGE_MAX = 60_000
"""Bytes of a message; longer texts are cut."""

LAST_RESORT = "deadline"
"""The policy that takes over from one that fails too often."""

_DELIVER_S = 0.1


@dataclass(frozen=True)
class Wanted:
    """A policy as it was asked for."""

    spec: str
    given: tuple[str, ...]
    folder: str


class Worker:
    """One attachment's life, in a process of its own."""

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        scheduler: LoadedScheduler,
        channel: socket.socket,
    ) -> None:
        """`scheduler` is loaded and not attached; `channel` is a SOCK_SEQPACKET socket."""
        self._settings = settings
        self._topology = topology
        self._scheduler = scheduler
        self._user = lib.pyland_user_memory(scheduler.rings)
        self._channel = channel
        self._caller = policy_user(calling_user())

    def live(self, wanted: Wanted) -> NoReturn:
        """Schedule until something ends it; the process ends with it."""
        try:
            self._start(wanted)
            stop = self._schedule()
            if stop is None:
                self._tell(kind="strict", policy=self._loop.policy.name)
            else:
                self._tell(kind="end", how=stop.name)
        except UsageError as error:
            self._tell(kind="refused", error=str(error))
        except BaseException as error:  # noqa: BLE001 - nothing may be left running
            self._tell(kind="broken", error=guard.describe(error))
        finally:
            os._exit(0)

    def _start(self, wanted: Wanted) -> None:
        if lib.pyland_die_with_parent() or lib.pyland_catch_signals():
            raise UsageError("signals cannot be set up")
        faulthandler.enable()
        memory.prepare()
        # A swap to one of them, above all the last resort, must not wait for a disk.
        for target in BUILTINS.values():
            importlib.import_module(target.partition(":")[0])
        self._machine = KernelMachine(
            self._scheduler.rings, self._topology, self._settings.slices, time.time_ns()
        )
        with privileges.acting_as(self._caller):
            choice = self._choose(wanted)
            self._loop = self._make_loop(choice)
            self._warm_up(choice)
        self._wanted = wanted
        self._failures = guard.Failures()
        guard.interrupt_policies()
        privileges.limit_memory()
        memory.lock()
        self._scheduler.attach()
        privileges.drop(self._caller)
        self._tell(kind="started", policy=choice.policy.name, options=_values(self._loop.policy))

    def _choose(self, wanted: Wanted, *, reload: bool = False) -> Choice:
        return choose(wanted.spec, wanted.given, folder=Path(wanted.folder), reload=reload)

    def _make_loop(self, choice: Choice) -> DispatchLoop:
        """The policy is constructed here; raises UsageError with what its constructor raised."""
        rings = self._scheduler.rings
        try:
            policy = choice.policy.create(self._machine, **choice.options)
            return DispatchLoop(rings, policy, self._machine)
        except UsageError:
            raise
        except BaseException as error:
            raise UsageError(
                f"policy {choice.policy.name} cannot be constructed: {guard.describe(error)}"
            ) from error

    def _warm_up(self, choice: Choice) -> None:
        before = self._machine.settings()
        # What it raises here it raises again when it schedules, and is told then.
        with suppress(BaseException):
            self._loop.warm_up(choice.policy.create(self._machine, **choice.options))
        self._machine.restore(before)
        self._machine.pending.clear()

    def _schedule(self) -> Stop | None:
        """Until something ends it; None when a failure does, for `--strict`."""
        while True:
            try:
                stop = self._loop.run()
            except BaseException as error:  # noqa: BLE001 - SystemExit is a failure like others
                with privileges.memory_reserve():
                    if not self._failed(error):
                        return None
                continue
            if stop is not Stop.REQUEST:
                return stop
            self._serve()

    def _failed(self, error: BaseException) -> bool:
        """Tell of a failure, and take another policy if there were too many; False: give up."""
        self._machine.pending.clear()
        name = self._loop.policy.name
        report = self._failures.note(error, time.monotonic())
        if report:
            self._tell(kind="failure", policy=name, report=report)
        if self._settings.strict:
            return False
        if self._failures.too_many:
            # The failed one goes first: it may be what holds all the memory.
            telling.forget_traceback(error)
            del self._loop
            self._swap(Wanted(LAST_RESORT, (), "/"))
            self._tell(
                kind="replaced",
                failed=name,
                policy=self._loop.policy.name,
                options=_values(self._loop.policy),
                failures=guard.FAILURES_MAX,
            )
        return True

    def _serve(self) -> None:
        """Do what the supervising process asks for: a swap."""
        while True:
            try:
                message = json.loads(self._channel.recv(MESSAGE_MAX, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return
            reload = bool(message["reload"])
            wanted = self._wanted
            if not reload:
                wanted = Wanted(message["policy"], tuple(message["options"]), message["folder"])
            previous = self._loop.policy.name
            begin_ns = time.monotonic_ns()
            try:
                self._swap(wanted, reload=reload)
            except UsageError as error:
                self._tell(kind="swap refused", error=str(error))
                continue
            self._tell(
                kind="swapped",
                previous=previous,
                policy=self._loop.policy.name,
                options=_values(self._loop.policy),
                pause_us=(time.monotonic_ns() - begin_ns) // 1000,
            )

    def _swap(self, wanted: Wanted, *, reload: bool = False) -> None:
        """Let another policy take over; raises UsageError, and nothing has changed."""
        before = self._machine.settings()
        try:
            choice = self._choose(wanted, reload=reload)
            self._machine.reset()
            loop = self._make_loop(choice)
        except UsageError:
            self._machine.restore(before)
            raise
        # What the old policy has decided is carried out as decided.
        until_s = time.monotonic() + _DELIVER_S
        while lib.pyland_undelivered(self._scheduler.rings) and time.monotonic() < until_s:
            os.sched_yield()
        self._loop, self._wanted = loop, wanted
        self._failures = guard.Failures()
        self._user.generation += 1
        # Old classes and modules refer to themselves; there are few, so this is short.
        gc.collect()

    def _tell(self, **message: Any) -> None:
        text = json.dumps(message, default=str)
        if len(text) > MESSAGE_MAX:
            cut = {k: v[:8000] if isinstance(v, str) else v for k, v in message.items()}
            text = json.dumps(cut, default=str)[:MESSAGE_MAX]
        with suppress(OSError):
            self._channel.send(text.encode(), socket.MSG_DONTWAIT)


def _values(policy: Policy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in type(policy).options}
