# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop: one native call and one policy call per batch."""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from pyland.kernel import wire
from pyland.kernel._native import ffi, lib
from pyland.kernel.loader import MAX_BATCH, QUEUE_CAP
from pyland.policy import DECISION_FIELDS, Policy

# A pack of many decisions at once: 108 ns each against 134 one by one. Beyond 64 more
# gains nothing, and a Struct for each size takes memory that has to be locked.
_PACK_MAX = 64


class Stop(IntEnum):
    """Why a loop came back."""

    SIGNAL = -1
    KERNEL = -2
    RING = -3


class DispatchLoop:
    """Runs a policy over one pair of rings."""

    def __init__(self, rings: Any, policy: Policy, *, max_batch: int = MAX_BATCH) -> None:
        """Raises ValueError when the policy asks for fields that records do not have.

        `max_batch` is how many tasks one cycle takes at most, up to `MAX_BATCH`.
        """
        self._rings = rings
        self._max_batch = max_batch
        self._policy = policy
        size = ffi.sizeof("struct pyland_queued")
        head = ffi.offsetof("struct pyland_batch", "records")
        batch = ffi.buffer(lib.pyland_batch_memory(rings), head + MAX_BATCH * size)
        view = memoryview(batch)
        self._head = view[:head]
        # A slice per size, made once: a slice in the loop costs 100 ns.
        self._views = [view[head : head + nr * size] for nr in range(MAX_BATCH + 1)]
        self._record = struct.Struct(wire.record_format("pyland_queued", policy.fields))
        row = wire.record_format("pyland_decision", DECISION_FIELDS).removeprefix("=")
        self._row_size = struct.calcsize("=" + row)
        self._packs = [struct.Struct("=" + row * nr) for nr in range(_PACK_MAX + 1)]
        decisions = lib.pyland_decision_memory(rings)
        self._out = memoryview(ffi.buffer(decisions, MAX_BATCH * self._row_size))

    def run(self) -> Stop:
        """Drain, decide and submit until something stops it."""
        # Everything the loop names is a local: an attribute look-up costs 20 to 40 ns.
        cycle: Callable[[Any, int, int, int], int] = lib.pyland_cycle
        rings, policy, views = self._rings, self._policy, self._views
        decide, pack = policy.decide, self._pack
        gauges = struct.Struct("=qq").unpack_from
        head = self._head
        one, many = self._record.unpack_from, self._record.iter_unpack
        first = self._packs[1].pack_into
        out, width = self._out, len(DECISION_FIELDS)
        max_batch = self._max_batch
        nr_out = held = 0
        while True:
            nr = cycle(rings, nr_out, held, min(max_batch, QUEUE_CAP - held))
            if nr > 0:
                runnable, weight = gauges(head)
                # One task is the common batch of a quiet machine: 120 ns less than iterating.
                tasks = (one(views[1]),) if nr == 1 else many(views[nr])
                flat = decide(tasks, runnable, weight)
            elif nr < 0:
                return Stop(nr)
            elif held:
                runnable, weight = gauges(head)
                flat = decide((), runnable, weight)
            else:
                nr_out = 0
                continue
            nr_out = len(flat) // width
            if nr_out == 1:
                first(out, 0, *flat)
            elif nr_out:
                pack(flat, nr_out)
            held = policy.nr_held

    def _pack(self, flat: list[int], nr: int) -> None:
        width = len(DECISION_FIELDS)
        for start in range(0, nr, _PACK_MAX):
            chunk = flat[start * width : (start + _PACK_MAX) * width]
            pack = self._packs[len(chunk) // width]
            pack.pack_into(self._out, start * self._row_size, *chunk)

    def warm_up(self, policy: Policy) -> None:
        """Run every path once with made-up records, at every size of batch.

        Python sizes lists, specialises code and fills caches at first use; afterwards a
        batch of any size finds all of it in place. `policy` is one that will not
        schedule: what it sees here never happened.
        """
        for nr in (1, 2, _PACK_MAX, _PACK_MAX + 1, MAX_BATCH):
            batch = lib.pyland_batch_memory(self._rings)
            for index in range(nr):
                batch.records[index].weight = 100 + index
                batch.records[index].state = index
            for _ in range(20):
                flat = policy.decide(self._record.iter_unpack(self._views[nr]), nr, nr * 100)
                self._pack(flat, len(flat) // len(DECISION_FIELDS))
