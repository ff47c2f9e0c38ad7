# SPDX-License-Identifier: GPL-2.0-only
"""The process that runs the policy: it gives up all rights before it looks at the policy.

It lives as long as the session. When a CPU comes or goes, the kernel wants pyland loaded again.
Then the worker gets new rings and keeps the policy's code that it has in memory, even if the
files have changed. While it schedules, it prints nothing and waits for no other process. It sends
messages to the supervisor, and carries out its orders to swap the policy.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from mmap import mmap
from typing import Any, NoReturn

from pyland import policies
from pyland._native import ffi, lib
from pyland.engine import guard, memory
from pyland.engine.channel import Channel
from pyland.engine.loop import DispatchLoop, Stop
from pyland.engine.machine import KernelMachine
from pyland.engine.parts import PartFailedError, Parts, values
from pyland.errors import UsageError
from pyland.host import limits
from pyland.loading.caller import Caller
from pyland.loading.finder import Choice
from pyland.loading.imports import edited_file
from pyland.loading.wanted import LAST_RESORT, Wanted
from pyland.output import telling
from pyland.output.outlet import lossy_text
from pyland.stats.numbers import PolicyNumbers
from pyland.supervisor import messages, privileges
from pyland.supervisor.confined import keep_only
from pyland.supervisor.loader import LoadedScheduler, map_rings
from pyland.supervisor.settings import Settings

_DELIVER_S = 0.1


class Worker:
    """A session's policy and its loop, in a process of its own."""

    _machine: KernelMachine

    def __init__(self, settings: Settings, user: Caller, channel: socket.socket, own: mmap) -> None:
        """`channel` is a SOCK_SEQPACKET socket to the supervisor, `own` is for `PolicyNumbers`."""
        self._own = own
        self._settings = settings
        self._user_to_be = user
        self._channel = Channel(channel)
        self._rings: Any = ffi.NULL
        self._parts = Parts(self._channel, strict=settings.strict)

    def live(self, scheduler: LoadedScheduler, wanted: Wanted, output: int) -> NoReturn:
        """Become a process without rights, then schedule until something ends it.

        `scheduler` is loaded and not attached; `output` is a pipe for what policies print.
        """
        try:
            self._lose_rights(scheduler, output)
            self._prepare()
            self._wanted = wanted
            if self._take_rings():
                self._take_policy()
                self._run()
        except UsageError as error:
            self._channel.deliver(messages.Refused(guard.said(error)))
        except BaseException as error:  # noqa: BLE001 - nothing may be left running
            self._channel.deliver(messages.Broken(guard.describe(error)))
        finally:
            os._exit(0)

    def _lose_rights(self, scheduler: LoadedScheduler, output: int) -> None:
        """Do all that needs root, and then give up the rights of this process for good."""
        if lib.pyland_die_with_parent() or lib.pyland_catch_signals():
            raise UsageError("signals cannot be set up")
        signal.set_wakeup_fd(-1)  # the old one is the supervisor's, closed below
        guard.interrupt_policies()
        scheduler.join()
        limits.allow_locked_memory()
        keep_only([self._channel.fileno(), output])
        for standard in (1, 2):
            os.dup2(output, standard)
        # Write each line at once. Python has no stdout if the caller had closed it, so make one.
        sys.stdout = sys.stderr = lossy_text(1)
        privileges.drop(self._user_to_be)
        privileges.leave_surroundings()
        self.confined = not lib.pyland_confine(self._settings.allow_processes)

    def _prepare(self) -> None:
        faulthandler.enable()
        memory.prepare()
        # A swap to a built-in must not wait for a disk, above all if it is the last resort.
        policies.load_all()

    def _take_rings(self) -> bool:
        """Wait for the rings of a loaded scheduler and map them; False without a supervisor."""
        order = self._channel.next_rings()
        if order is None:
            return False
        values, descriptors = order
        if self._rings:
            # A finalizer or a thread of the policy may still ask the old machine.
            self._machine.leave_memory()
        self._rings = map_rings(values["sizes"], descriptors, again=self._rings)
        for descriptor in descriptors:
            os.close(descriptor)
        self._user = self._rings.user
        self._rings_order: str = values["number"]
        self._machine = KernelMachine(
            self._rings,
            values["topology"],
            self._settings.slices,
            time.time_ns(),
            PolicyNumbers(self._own),
        )
        self._machine.tell_of_parts(self._parts.failed, self._parts.replaced)
        return True

    def _take_policy(self) -> None:
        """At the first start: import, construct and warm up the policy, then lock all memory."""
        choice = self._wanted.choose()
        self._loop = self._make_loop(choice)
        self._warm_up(choice)
        self._choice = choice
        self._failures = guard.Failures()
        privileges.limit_memory()
        memory.lock()
        privileges.limit_locked_memory(memory.locked_mib(os.getpid()))

    def _run(self) -> None:
        """Schedule until the session ends; after each restart of the kernel on new rings."""
        while True:
            self._channel.deliver(self._ready())
            if not self._channel.wait_for_go():
                return
            stop = self._schedule()
            if stop is None:
                self._channel.deliver(messages.GaveUp(self._loop.policy.name))
            else:
                self._channel.tell(messages.Stopped(stop.name))
            if stop is not Stop.KERNEL or not self._take_rings():
                return
            self._take_up_again()

    def _ready(self) -> messages.Ready:
        policy = self._loop.policy
        return messages.Ready(self._rings_order, policy.name, values(policy), self.confined)

    def _take_up_again(self) -> None:
        """After a restart: construct the policy for the new machine, from its code in memory."""
        name = self._loop.policy.name
        if file := edited_file():
            self._channel.tell(messages.Edited(name, file))
        self._parts.leave(self._loop.policy)
        del self._loop
        try:
            self._loop = guard.making_a_policy(lambda: self._make_loop(self._choice))
        except UsageError as error:
            if self._settings.strict:
                raise
            self._last_resort(name, f"cannot go on after the restart: {error}")
        if self._parts.swap_again(self._loop.policy):
            self._loop = DispatchLoop(self._rings, self._loop.policy, self._machine)
        with suppress(guard.PolicyTookTooLongError):
            guard.making_a_policy(lambda: self._warm_up(self._choice))
        gc.collect()

    def _make_loop(self, choice: Choice) -> DispatchLoop:
        """A loop with a new policy; raises UsageError with what the constructor raised."""
        try:
            policy = choice.policy.create(self._machine, **choice.options)
            return DispatchLoop(self._rings, policy, self._machine)
        except UsageError:
            raise
        except BaseException as error:
            raise UsageError(
                f"policy {choice.policy.name} cannot be constructed: {guard.describe(error)}"
            ) from error

    def _warm_up(self, choice: Choice) -> None:
        before = self._machine.settings()
        self._machine.tell_of_parts(lambda *_: None, lambda *_: None)
        # An exception here is not reported: it comes again when the policy schedules.
        with suppress(BaseException):
            self._loop.warm_up(choice.policy.create(self._machine, **choice.options))
        self._machine.tell_of_parts(self._parts.failed, self._parts.replaced)
        self._machine.restore(before)
        self._machine.outgoing.clear()

    def _schedule(self) -> Stop | None:
        """Schedule until something ends it; None if that is a failure and `--strict` was given."""
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
            # This policy may have used up its memory: the swap to the next must not fail by that.
            with privileges.memory_reserve():
                self._serve()

    def _failed(self, error: BaseException) -> bool:
        """Report a failure, and replace the policy after too many; False if scheduling must end."""
        self._machine.outgoing.clear()
        if telling.is_a(error, PartFailedError):
            return False
        try:
            if self._parts.to_blame(self._loop):
                return True
        except PartFailedError:
            return False
        name = self._loop.policy.name
        if report := self._failures.note(error, time.monotonic()):
            self._channel.tell(messages.Failure(name, report))
        if self._settings.strict:
            return False
        if self._failures.too_many:
            # Delete the failed policy first: it may hold all the memory.
            telling.forget_traceback(error)
            self._parts.leave(self._loop.policy)
            del self._loop
            self._last_resort(
                name, f"failed {guard.FAILURES_MAX} times within {guard.WINDOW_S:g} s"
            )
        return True

    def _last_resort(self, failed: str, why: str) -> None:
        self._swap(LAST_RESORT)
        policy = self._loop.policy
        self._channel.deliver(messages.Replaced(failed, why, policy.name, values(policy)))

    def _serve(self) -> None:
        """Make the swaps that the supervisor has ordered."""
        for order in self._channel.orders():
            previous = self._loop.policy.name
            begin_ns = time.monotonic_ns()
            try:
                if order.layer:
                    policy = self._loop.policy
                    previous, name = self._parts.swap(policy, order.layer, order.wanted)
                    # It may read other fields: the loop is made anew, and the policy stays.
                    self._loop = DispatchLoop(self._rings, policy, self._machine)
                    gc.collect()
                else:
                    self._swap(order.wanted, reload=order.reload)
                    name = self._loop.policy.name
            except UsageError as error:
                self._channel.answer(messages.SwapRefused(order.number, guard.said(error)))
                continue
            pause_us = (time.monotonic_ns() - begin_ns) // 1000
            options = values(self._loop.policy)
            self._channel.answer(messages.Swapped(order.number, previous, name, options, pause_us))

    def _swap(self, wanted: Wanted, *, reload: bool = False) -> None:
        """Let another policy take over; raises UsageError, and then has changed nothing."""
        before = self._machine.settings()
        try:
            choice, loop = guard.making_a_policy(lambda: self._another(wanted, reload=reload))
        except UsageError:
            self._machine.restore(before)
            raise
        except guard.PolicyTookTooLongError as late:
            self._machine.restore(before)
            raise UsageError(f"--policy {wanted.spec}: {late}") from None
        # Let BPF first carry out the decisions of the old policy.
        until_s = time.monotonic() + _DELIVER_S
        ring = self._rings.dispatched
        while ring.consumer_pos[0] != ring.producer_pos[0] and time.monotonic() < until_s:
            os.sched_yield()
        if (former := vars(self).get("_loop")) is not None:
            self._parts.leave(former.policy)
            del former
        self._loop, self._wanted, self._choice = loop, wanted, choice
        self._failures = guard.Failures()
        self._parts.start_anew()
        lib.pyland_mend(self._rings)
        # Old classes and modules are in reference cycles. They are few, so this is short.
        gc.collect()
        # Before the generation changes: keys of the new policy must not be compared with old ones.
        loop.want()
        self._user.generation = (self._user.generation + 1) & 0xFFFFFFFF

    def _another(self, wanted: Wanted, *, reload: bool) -> tuple[Choice, DispatchLoop]:
        choice = wanted.choose(reload=reload)
        self._machine.reset()
        return choice, self._make_loop(choice)
