# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop: one native call and one policy call per batch."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from pyland.decision import DECISION_FIELDS, flat_decisions
from pyland.kernel import wire
from pyland.kernel._exchange import Exchange
from pyland.kernel._native import ffi, lib
from pyland.kernel.loader import MAX_BATCH, QUEUE_CAP
from pyland.kernel.machine import KernelMachine
from pyland.policy import EXTRA_FIELDS, Batch, Policy, forget


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
        self.refused: list[int] | None = None
        """The decisions that could not be sent, when `run` has raised for that."""
        self._max_batch = max_batch
        self._batch = Batch(policy.fields)
        self._tick_due_ns = 0
        self._wanted = wanted(type(policy))
        size = lib.PYLAND_BASE_RECORD
        if self._wanted & lib.PYLAND_WANT_EXTRAS:
            size = ffi.sizeof("struct pyland_queued")
        head = ffi.offsetof("struct pyland_batch", "records")
        memory = ffi.buffer(lib.pyland_batch_memory(rings), head + MAX_BATCH * size)
        self._records = memoryview(memory)[head:]
        self._record_size = size
        self._record = struct.Struct(wire.record_format("pyland_queued", policy.fields, size))
        if policy.uses_numpy:
            self._batch.records = wire.record_array("pyland_queued", self._records, size)
        events = lib.pyland_event_memory(rings)
        self._event = struct.Struct(wire.record_format("pyland_event", ("kind", "pid", "ran_ns")))
        self._events = memoryview(ffi.buffer(events, MAX_BATCH * self._event.size))

    def _exchange(self) -> Exchange:
        """What calls the shim for the loop; cffi would take twice the instructions."""

        def address(pointer: Any) -> int:
            return int(ffi.cast("uintptr_t", pointer))

        return Exchange(
            cycle=address(ffi.addressof(lib, "pyland_cycle")),
            rings=address(self._rings),
            memory=address(lib.pyland_batch_memory(self._rings)),
            decisions=address(lib.pyland_decision_memory(self._rings)),
            batch=self._batch,
            max_batch=self._max_batch,
            record_size=self._record_size,
            fields=wire.places("pyland_queued", self.policy.fields),
        )

    def _want(self) -> None:
        """Tell BPF what the policy asks of it."""
        policy = self.policy
        times_ns = policy.lasts_ns, policy.margin_ns, policy.interval_ns
        lib.pyland_want(self._rings, self._wanted, *times_ns)

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
                pending=self._machine.outgoing,
                place=self._place,
                tell=self._tell if told else None,
                # A policy that reads the array does not pay for tuples.
                rows=self._rows if self.policy.uses_numpy else None,
                cap=QUEUE_CAP,
            )
        except (TypeError, ValueError, OverflowError):
            self.refused = exchange.flat
            raise
        return Stop(stop)

    def _rows(self, nr: int) -> Iterator[tuple[Any, ...]]:
        """The drained records' fields, unpacked when somebody reads them."""
        return self._record.iter_unpack(self._records[: nr * self._record_size])

    def _place(self, flat: Any, rest: list[int]) -> tuple[list[int], list[int]]:
        """What one submission takes of all decisions, and those left for the next.

        `flat` is what the policy returned, in any of its forms.
        """
        outgoing = self._machine.outgoing
        flat = [*rest, *outgoing, *flat_decisions(flat)]
        outgoing.clear()
        full = self._max_batch * len(DECISION_FIELDS)
        return flat[:full], flat[full:]

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
                    forget(policy, pid)
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
