# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop: one native call and one policy call per batch."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pyland.kernel import wire
from pyland.kernel._native import ffi, lib
from pyland.kernel.loader import MAX_BATCH, QUEUE_CAP
from pyland.kernel.machine import KernelMachine
from pyland.policy import DECISION_FIELDS, EXTRA_FIELDS, Batch, Policy, flat_decisions

if TYPE_CHECKING:
    from numpy import ndarray

# A pack of many decisions at once: 108 ns each against 134 one by one. Beyond 64 more
# gains nothing, and a Struct for each size takes memory that has to be locked.
_PACK_MAX = 64
_WIDTH = len(DECISION_FIELDS)


class Stop(IntEnum):
    """Why a loop came back."""

    SIGNAL = -1
    KERNEL = -2
    RING = -3
    REQUEST = -4


def wanted(policy: type[Policy]) -> int:
    """What BPF has to collect for a policy: `PYLAND_WANT_*`."""
    bits = 0
    if any(name in EXTRA_FIELDS for name in policy.fields):
        bits |= lib.PYLAND_WANT_EXTRAS
    for method, bit in (
        ("stopped", lib.PYLAND_WANT_STOPPED),
        ("slept", lib.PYLAND_WANT_SLEPT),
        ("exited", lib.PYLAND_WANT_EXITED),
    ):
        if getattr(policy, method) is not getattr(Policy, method):
            bits |= bit
    # Held tasks are forgotten when they exit, which only their policy's base class sees to.
    if policy.decide is Policy.decide:
        bits |= lib.PYLAND_WANT_EXITED
    return bits


class DispatchLoop:
    """Runs a policy over one pair of rings."""

    def __init__(
        self, rings: Any, policy: Policy, machine: KernelMachine, *, max_batch: int = MAX_BATCH
    ) -> None:
        """`max_batch` is how many tasks one cycle takes at most, up to `MAX_BATCH`."""
        self.policy = policy
        self._rings = rings
        self._machine = machine
        self._max_batch = max_batch
        self._batch = Batch()
        self._tick_due_ns = 0
        self._wanted = wanted(type(policy))
        size = lib.PYLAND_BASE_RECORD
        if self._wanted & lib.PYLAND_WANT_EXTRAS:
            size = ffi.sizeof("struct pyland_queued")
        head = ffi.offsetof("struct pyland_batch", "records")
        memory = ffi.buffer(lib.pyland_batch_memory(rings), head + MAX_BATCH * size)
        view = memoryview(memory)
        self._head = view[:head]
        # A slice per size, made once: a slice in the loop costs 100 ns.
        self._views = [view[head : head + nr * size] for nr in range(MAX_BATCH + 1)]
        self._record = struct.Struct(wire.record_format("pyland_queued", policy.fields, size))
        if policy.uses_numpy:
            self._batch._array = wire.record_array("pyland_queued", view[head:], size)
        events = lib.pyland_event_memory(rings)
        self._event = struct.Struct(wire.record_format("pyland_event", ("kind", "pid", "ran_ns")))
        self._events = memoryview(ffi.buffer(events, MAX_BATCH * self._event.size))
        row = wire.record_format("pyland_decision", DECISION_FIELDS).removeprefix("=")
        self._row_size = struct.calcsize("=" + row)
        self._packs = [struct.Struct("=" + row * nr) for nr in range(_PACK_MAX + 1)]
        decisions = lib.pyland_decision_memory(rings)
        self._out = memoryview(ffi.buffer(decisions, MAX_BATCH * self._row_size))

    def run(self) -> Stop:
        """Drain, decide and submit until something stops it; what the policy raises goes up.

        It can be run again after that; the tasks of the failed batch are left to BPF.
        """
        lib.pyland_want(self._rings, self._wanted)
        # Everything the loop names is a local: an attribute look-up costs 20 to 40 ns.
        cycle: Callable[[Any, int, int, int], int] = lib.pyland_cycle
        rings, policy, views, batch = self._rings, self.policy, self._views, self._batch
        decide, place, pending = policy.decide, self._place, self._machine.pending
        gauges = struct.Struct("=qq").unpack_from
        head = self._head
        one, many = self._record.unpack_from, self._record.iter_unpack
        first = self._packs[1].pack_into
        out, width = self._out, _WIDTH
        max_batch = self._max_batch
        told = bool(policy.interval_ns or self._wanted & ~lib.PYLAND_WANT_EXTRAS)
        nothing: list[int] = []
        flat: Any
        rest: Sequence[int] = ()
        nr_out = 0
        held = policy.nr_held
        while True:
            room = QUEUE_CAP - held
            if rest:
                room = 0
            nr = cycle(rings, nr_out, held, max_batch if room > max_batch else room)
            if nr < 0:
                return Stop(nr)
            if told:
                self._tell()
            if nr:
                batch.nr = nr
                batch.nr_runnable, batch.weight_runnable = gauges(head)
                # One task is the common batch of a quiet machine: 120 ns less than iterating.
                batch.rows = (one(views[1]),) if nr == 1 else many(views[nr])
                flat = decide(batch)
            elif held:
                batch.nr = 0
                batch.nr_runnable, batch.weight_runnable = gauges(head)
                batch.rows = ()
                flat = decide(batch)
            else:
                flat = nothing
            if rest or pending or type(flat) is not list:
                flat, rest = place(flat, rest)
                nr_out = len(flat) // width
            else:
                nr_out = len(flat) // width
                if nr_out == 1:
                    first(out, 0, *flat)
                elif nr_out:
                    flat, rest = place(flat, rest)
                    nr_out = len(flat) // width
            held = policy.nr_held

    def _place(
        self, flat: Sequence[int] | ndarray[Any, Any], rest: Sequence[int]
    ) -> tuple[Sequence[int], Sequence[int]]:
        """Pack what one submission takes of all decisions; these, and those left for the next."""
        if not isinstance(flat, (list, tuple)):
            flat = flat_decisions(flat)
        pending = self._machine.pending
        if rest or pending:
            flat = [*rest, *pending, *flat]
            pending.clear()
            rest = ()
        nr = len(flat) // _WIDTH
        if nr > MAX_BATCH:
            flat, rest = flat[: MAX_BATCH * _WIDTH], flat[MAX_BATCH * _WIDTH :]
            nr = MAX_BATCH
        for start in range(0, nr, _PACK_MAX):
            chunk = flat[start * _WIDTH : (start + _PACK_MAX) * _WIDTH]
            self._packs[len(chunk) // _WIDTH].pack_into(self._out, start * self._row_size, *chunk)
        return flat, rest

    def _tell(self) -> None:
        """Call the policy for what happened to tasks, and for the time that has passed."""
        policy = self.policy
        batch = lib.pyland_batch_memory(self._rings)
        if batch.nr_events:
            size = batch.nr_events * self._event.size
            for kind, pid, ran_ns in self._event.iter_unpack(self._events[:size]):
                if kind == lib.PYLAND_EVENT_STOPPED:
                    policy.stopped(pid, ran_ns)
                elif kind == lib.PYLAND_EVENT_SLEPT:
                    policy.slept(pid)
                else:
                    policy._forget(pid)
                    policy.exited(pid)
        if policy.interval_ns and batch.now_ns >= self._tick_due_ns:
            self._tick_due_ns = batch.now_ns + policy.interval_ns
            policy.tick()

    def warm_up(self, policy: Policy) -> None:
        """Run every path once with made-up records, at every size of batch.

        Python sizes lists, specialises code and fills caches at first use; afterwards a
        batch of any size finds all of it in place. `policy` is one that will not
        schedule: what it sees here never happened.
        """
        batch, scheduling = self._batch, self.policy
        self.policy = policy
        lib.pyland_want(self._rings, self._wanted)
        for nr in (1, 2, _PACK_MAX, _PACK_MAX + 1, MAX_BATCH):
            for index in range(nr):
                record = lib.pyland_record(self._rings, index)
                record.pid, record.weight, record.state = index + 1, 100 + index, index
                record.enqueue_ns = index
            for _ in range(20):
                batch.nr, batch.nr_runnable, batch.weight_runnable = nr, nr, nr * 100
                batch.rows = self._record.iter_unpack(self._views[nr])
                flat = policy.decide(batch)
                rest: Sequence[int] = ()
                flat, rest = self._place(flat, rest)
                while rest:
                    flat, rest = self._place((), rest)
        self.policy = scheduling
