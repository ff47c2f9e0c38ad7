# SPDX-License-Identifier: GPL-2.0-only
"""pyland with a default policy that has gone wrong: `python -m tests.kernel.hostile KIND`.

The whole command runs, with everything else as users have it.
"""

from __future__ import annotations

import mmap
import random
import struct
import sys
import time
from collections.abc import Iterable
from unittest.mock import patch

from pyland.cli import main as command
from pyland.kernel import loader
from pyland.kernel._native import ffi, lib
from pyland.policies.deadline import Deadline
from pyland.policy import DECISION_FIELDS

WIDTH = len(DECISION_FIELDS)
HALF = 2**31 - 1


class Garbage(Deadline):
    """Every decision is wrong in some way, some are sent twice, some name a stranger."""

    _random = random.Random(1)

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        flat = super().decide(tasks, nr_runnable, weight_runnable)
        pick = self._random.choice
        for at in range(0, len(flat), WIDTH):
            flat[at + 2] = pick((-1, 0, 1, -2, 999, HALF, -HALF))  # cpu
            flat[at + 3] = pick((0, 1, 10**16, 2**63, 2**64 - 1))  # slice_ns
            # What Deadline computes from the states that come back does not fit for long.
            vtime_ns, state = flat[at + 4] % 2**64, flat[at + 5] % 2**64
            flat[at + 4] = pick((0, 1, 2**63, 2**64 - 1, vtime_ns))
            flat[at + 5] = pick((0, 2**64 - 1, state))
            flat[at + 6] = pick((0, 1, 2**64 - 1))  # flags
        if flat and len(flat) // WIDTH < loader.MAX_BATCH // 4:
            stale = [flat[0] >> 1, *flat[1:WIDTH]]
            stranger = [*flat[:1], pick((0, -1, 1, HALF)), *flat[2:WIDTH]]
            flat += flat[:WIDTH] + stale + stranger
        return flat


class Forget(Deadline):
    """Never decides anything, and says that it will."""

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        self.nr_held = min(self.nr_held + sum(1 for _ in tasks), loader.QUEUE_CAP - 1)
        return []


class Loop(Deadline):
    """Computes for ever, now and then."""

    _calls = 0

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        Loop._calls += 1
        if Loop._calls > 200 and Loop._calls % 100 == 0:
            until_s = time.monotonic() + 3
            while time.monotonic() < until_s:
                pass
        return super().decide(tasks, nr_runnable, weight_runnable)


class Corrupt(Deadline):
    """Writes over the ring of decisions, as a stray pointer would."""

    _calls = 0
    ring: mmap.mmap | None = None

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        Corrupt._calls += 1
        if Corrupt._calls > 300 and self.ring:
            # The producer's position, far ahead: the kernel would walk what is not there.
            (position,) = struct.unpack_from("=Q", self.ring, 0)
            struct.pack_into("=Q", self.ring, 0, position + (1 << 40) + 4)
        return super().decide(tasks, nr_runnable, weight_runnable)


class _Loaded(loader.LoadedScheduler):
    def attach(self) -> None:
        entries = ffi.new("unsigned int *")
        fd = lib.pyland_map_fd(self._object, b"dispatched", entries)
        Corrupt.ring = mmap.mmap(fd, mmap.PAGESIZE, offset=mmap.PAGESIZE)
        super().attach()


KINDS: dict[str, type[Deadline]] = {
    kind.__name__.lower(): kind for kind in (Garbage, Forget, Loop, Corrupt)
}

if __name__ == "__main__":
    from pyland.kernel import session

    with (
        patch.object(session, "LoadedScheduler", _Loaded),
        patch.object(command, "Deadline", KINDS[sys.argv[1]]),
    ):
        sys.exit(command.main(sys.argv[2:]))
