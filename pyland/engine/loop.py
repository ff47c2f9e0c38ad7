# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop: one native call and one policy call per batch."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from pyland._native import Exchange, ffi, lib
from pyland.decision import DECISION_FIELDS, flat_decisions
from pyland.engine import wire
from pyland.engine.machine import KernelMachine
from pyland.policy import EXTRA_FIELDS, Batch, Policy, forget
from pyland.supervisor.loader import MAX_BATCH, QUEUE_CAP


class Stop(IntEnum):
    """Why a loop has ended: a `pyland_cycle_end`."""

    SIGNAL = lib.PYLAND_STOP_SIGNAL
    KERNEL = lib.PYLAND_STOP_KERNEL
    RING = lib.PYLAND_STOP_RING
    REQUEST = lib.PYLAND_STOP_REQUEST


_NEVER_NS = (1 << 64) - 1

_INTERIM = {"hold": lib.PYLAND_WANT_HOLD, "vtime": 0, "arrival": lib.PYLAND_WANT_ARRIVAL}


def wanted(policy: Policy) -> int:
    """`PYLAND_WANT_*` bits: what BPF has to collect, and how it orders tasks meanwhile."""
    bits: int = _INTERIM[policy.interim]
    if not policy.exact_slices:
        bits |= lib.PYLAND_WANT_TICKS
    if any(name in EXTRA_FIELDS for name in (*policy.fields, *policy.more_fields)):
        bits |= lib.PYLAND_WANT_EXTRAS
    for method, bit in (
        ("stopped", lib.PYLAND_WANT_STOPPED),
        ("slept", lib.PYLAND_WANT_SLEPT),
        ("exited", lib.PYLAND_WANT_EXITED),
        ("running", lib.PYLAND_WANT_RUNNING),
        ("changed", lib.PYLAND_WANT_CHANGED),
    ):
        if policy.hears(method):
            bits |= bit
    # `Policy.decide` keeps the held tasks, and must forget those that exit.
    if type(policy).decide is Policy.decide:
        bits |= lib.PYLAND_WANT_EXITED
    return bits


class Views:
    """Other fields of the drained records. It does not refer to the policy: a policy that fails is
    freed when the loop is."""

    def __init__(self, records: memoryview, size: int, batch: Batch) -> None:
        """Records of `size` bytes; `batch` says how many there are."""
        self._records, self._size, self._batch = records, size, batch
        self._formats: dict[tuple[str, ...], struct.Struct] = {}

    def rows(self, fields: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        """A tuple with these fields for each record of the batch."""
        record = self._formats.get(fields)
        if record is None:
            record = struct.Struct(wire.record_format("pyland_queued", fields, self._size))
            self._formats[fields] = record
        return record.iter_unpack(self._records[: self._batch.nr * self._size])


class DispatchLoop:
    """Runs a policy over one pair of rings."""

    def __init__(
        self, rings: Any, policy: Policy, machine: KernelMachine, *, max_batch: int = MAX_BATCH
    ) -> None:
        """`max_batch` is how many tasks one cycle takes at most, up to `MAX_BATCH`."""
        self.policy = policy
        self._rings = rings
        self._machine = machine
        self.refused: list[int] | None = None
        """The list that was no list of decisions, if `run` has raised for it last."""
        self._max_batch = max_batch
        self._batch = Batch(policy.fields)
        self._tick_due_ns = 0
        self._wanted = wanted(policy)
        size = lib.PYLAND_BASE_RECORD
        if self._wanted & lib.PYLAND_WANT_EXTRAS:
            size = ffi.sizeof("struct pyland_queued")
        self._records = memoryview(ffi.buffer(rings.batch.records, MAX_BATCH * size))
        self._record = struct.Struct(wire.record_format("pyland_queued", policy.fields, size))
        self._batch.view = Views(self._records, size, self._batch).rows
        if policy.uses_numpy:
            self._batch.records = wire.record_array("pyland_queued", self._records, size)
        self._event = struct.Struct(wire.record_format("pyland_event", ("kind", "pid", "ran_ns")))
        self._events = memoryview(ffi.buffer(rings.events, MAX_BATCH * self._event.size))

    def _exchange(self) -> Exchange:
        """Runs the cycles in C; a loop over cffi takes twice the instructions."""
        return Exchange(
            rings=self._rings,
            batch=self._batch,
            max_batch=self._max_batch,
            fields=wire.places("pyland_queued", self.policy.fields),
        )

    def want(self) -> None:
        """Tell BPF what the policy needs."""
        policy = self.policy
        times_ns = policy.lasts_ns, policy.margin_ns, self._interval_ns()
        lib.pyland_want(self._rings, self._wanted, policy.lasts_slices, *times_ns)

    def _interval_ns(self) -> int:
        """How often the policy wants to run, for `tick` or a timer; 0 if it does not care."""
        intervals_ns = self.policy.interval_ns, self._machine.timer_interval_ns
        return min(filter(None, intervals_ns), default=0)

    def run(self) -> Stop:
        """Repeat drain, decide and submit until something ends it. Raises what the policy raises.

        The loop can run again after that; BPF dispatches the tasks of the failed batch.
        """
        self.refused = None
        self.want()
        exchange = self._running = self._exchange()
        events = self._wanted & lib.PYLAND_WANT_EVENTS
        told = bool(self.policy.interval_ns or self._machine.has_timers or events)
        try:
            stop = exchange.run(
                policy=self.policy,
                outgoing=self._machine.outgoing,
                place=self._place,
                tell=self._tell if told else None,
                # A policy that reads the array does not pay for tuples.
                rows=self._rows if self.policy.uses_numpy else None,
                cap=QUEUE_CAP,
            )
        except (TypeError, ValueError, OverflowError):
            self.refused = exchange.refused
            raise
        return Stop(stop)

    def _rows(self, nr: int) -> Iterator[tuple[Any, ...]]:
        """The fields of the drained records, unpacked when the policy reads them."""
        return self._record.iter_unpack(self._records[: nr * self._record.size])

    def _place(self, flat: Any, rest: list[int]) -> tuple[list[int], list[int]]:
        """As many decisions as one submission takes, and the rest for the next one.

        `flat` is what the policy returned, in any of its forms.
        """
        outgoing = self._machine.outgoing
        flat = [*rest, *outgoing, *flat_decisions(flat)]
        outgoing.clear()
        # After the decisions that found the ring full.
        full = (self._max_batch - self._rings.nr_backlog) * len(DECISION_FIELDS)
        return flat[:full], flat[full:]

    def _tell(self) -> None:
        """Tell the policy the events of the batch, and that its interval has passed."""
        policy = self.policy
        batch = self._rings.batch
        if batch.nr_events:
            size = batch.nr_events * self._event.size
            for kind, pid, ran_ns in self._event.iter_unpack(self._events[:size]):
                if kind == lib.PYLAND_EVENT_STOPPED:
                    policy.stopped(pid, ran_ns)
                elif kind == lib.PYLAND_EVENT_SLEPT:
                    policy.slept(pid)
                elif kind == lib.PYLAND_EVENT_RUNNING:
                    policy.running(pid)
                elif kind == lib.PYLAND_EVENT_CHANGED:
                    policy.changed(pid)
                else:
                    forget(policy, pid)
                    policy.exited(pid)
        if policy.interval_ns and batch.now_ns >= self._tick_due_ns:
            self._tick_due_ns = batch.now_ns + policy.interval_ns
            policy.tick()
        self._machine.run_timers()
        # A timer may be made or cancelled at any time: with timers each cycle is looked at.
        if not self._machine.has_timers:
            self._running.quiet_until_ns = self._tick_due_ns if policy.interval_ns else _NEVER_NS

    def warm_up(self, policy: Policy) -> None:
        """Run the policy's code with made-up records, in batches of several sizes.

        Python sizes lists, specialises code and fills caches at first use, which would cost
        page faults later. `policy` must be one that does not schedule afterwards: the tasks
        that it sees here do not exist.
        """
        batch, scheduling = self._batch, self.policy
        self.policy = policy
        self.want()
        try:
            for nr in (1, 2, 64, MAX_BATCH):
                for index in range(nr):
                    record = lib.pyland_record(self._rings, index)
                    record.pid, record.weight, record.state = index + 1, 100 + index, index
                    record.enqueue_ns = index
                for _ in range(20):
                    batch.nr, batch.nr_runnable, batch.weight_runnable = nr, nr, nr * 100
                    batch.rows = [*self._rows(nr)]
                    flat = policy.decide(batch)
                    rest: list[int] = []
                    flat, rest = self._place(flat, rest)
                    while rest:
                        flat, rest = self._place((), rest)
        finally:
            self.policy = scheduling
