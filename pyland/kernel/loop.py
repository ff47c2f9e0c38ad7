# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop: one native call and one policy call per batch."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pyland._native import Exchange, ffi, lib
from pyland.kernel import wire
from pyland.kernel.loader import MAX_BATCH, QUEUE_CAP
from pyland.kernel.machine import KernelMachine
from pyland.policy import DECISION_FIELDS, EXTRA_FIELDS, Batch, Policy, flat_decisions

if TYPE_CHECKING:
    from numpy import ndarray


class Stop(IntEnum):
    """Why a loop came back."""

    SIGNAL = lib.PYLAND_STOP_SIGNAL
    KERNEL = lib.PYLAND_STOP_KERNEL
    RING = lib.PYLAND_STOP_RING
    REQUEST = lib.PYLAND_STOP_REQUEST


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
        self.refused: list[int] | None = None
        """The decisions that could not be sent, when `run` has raised for that."""
        self._max_batch = max_batch
        self._batch = Batch()
        self._tick_due_ns = 0
        self._wanted = wanted(type(policy))
        size = lib.PYLAND_BASE_RECORD
        if self._wanted & lib.PYLAND_WANT_EXTRAS:
            size = ffi.sizeof("struct pyland_queued")
        head = ffi.offsetof("struct pyland_batch", "records")
        memory = ffi.buffer(rings.batch, head + MAX_BATCH * size)
        self._records = memoryview(memory)[head:]
        self._record_size = size
        self._record = struct.Struct(wire.record_format("pyland_queued", policy.fields, size))
        if policy.uses_numpy:
            self._batch._array = wire.record_array("pyland_queued", self._records, size)
        self._event = struct.Struct(wire.record_format("pyland_event", ("kind", "pid", "ran_ns")))
        self._events = memoryview(ffi.buffer(rings.events, MAX_BATCH * self._event.size))

    def _exchange(self) -> Exchange:
        """What calls the shim for the loop; cffi would take twice the instructions."""
        return Exchange(
            rings=self._rings,
            batch=self._batch,
            max_batch=self._max_batch,
            fields=wire.places("pyland_queued", self.policy.fields),
        )

    def _want(self) -> None:
        """Tell BPF what the policy asks of it."""
        policy = self.policy
        margin_ns = policy.margin_ns or self._machine.slices.shortest_ns
        lib.pyland_want(self._rings, self._wanted, policy.holds_ns, margin_ns, policy.interval_ns)

    def run(self) -> Stop:
        """Drain, decide and submit until something stops it; what the policy raises goes up.

        It can be run again after that; the tasks of the failed batch are left to BPF.
        """
        self._want()
        exchange = self._exchange()
        told = bool(self.policy.interval_ns or self._wanted & ~lib.PYLAND_WANT_EXTRAS)
        try:
            stop = exchange.run(
                policy=self.policy,
                pending=self._machine.pending,
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
        """The drained records' fields, unpacked when the policy reads them."""
        return self._record.iter_unpack(self._records[: nr * self._record_size])

    def _place(
        self, flat: Sequence[int] | ndarray[Any, Any], rest: list[int]
    ) -> tuple[list[int], list[int]]:
        """What one submission takes of all decisions, and those left for the next."""
        if not isinstance(flat, (list, tuple)):
            flat = flat_decisions(flat)
        pending = self._machine.pending
        flat = [*rest, *pending, *flat]
        pending.clear()
        full = self._max_batch * len(DECISION_FIELDS)
        return flat[:full], flat[full:]

    def _tell(self) -> None:
        """Call the policy for what happened to tasks, and for the time that has passed."""
        policy = self.policy
        batch = self._rings.batch
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
        self._want()
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
        self.policy = scheduling
