# SPDX-License-Identifier: GPL-2.0-only
"""Policies that misbehave: `pyland --policy tests/kernel/hostile.py:Garbage`."""

from __future__ import annotations

import collections
import ctypes
import itertools
import threading
import time
from pathlib import Path

from pyland.options import option
from pyland.policies.deadline import Deadline
from pyland.policy import CPU_ANY, DECISION_FIELDS, Batch, Policy, Task

WIDTH = len(DECISION_FIELDS)
HALF = 2**31 - 1
YEAR_NS = 365 * 24 * 3600 * 10**9


class Raises(Policy):
    """Fails with every task."""

    def enqueue(self, task: Task) -> None:
        raise ValueError(f"no idea what to do with {task.comm}")


class RaisesAtHogs(Policy):
    """Works until there is a hog."""

    def enqueue(self, task: Task) -> None:
        if task.comm == "hogs":
            raise ValueError("no idea what to do with hogs")
        self.dispatch(task)


class RaisesAtTimes(Deadline):
    """Fails with one batch of fifty, each time at another line."""

    def decide(self, batch: Batch) -> list[int]:
        if self.machine.random.random() < 0.02:
            raise OSError("now and then")
        return super().decide(batch)


class Exits(Deadline):
    """Tries to end the process."""

    def decide(self, batch: Batch) -> list[int]:
        raise SystemExit(3)


class Loops(Deadline):
    """Never returns, from the hundredth batch on."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        while self.calls > 100:
            pass
        return super().decide(batch)


class Sleeps(Deadline):
    """Waits for a minute, from the hundredth batch on."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls > 100:
            time.sleep(60)
        return super().decide(batch)


class Forgets(Policy):
    """Never decides."""

    def enqueue(self, task: Task) -> None:
        pass


class ForgetsAtFirst(Deadline):
    """Does not decide for three seconds, and then decides all tasks."""

    interim = "hold"
    begin_ns = 0

    def decide(self, batch: Batch) -> list[int]:
        self.begin_ns = self.begin_ns or batch.now_ns
        if batch.now_ns - self.begin_ns < 3_000_000_000:
            return []
        return super().decide(batch)


class OnOneCpu(Policy):
    """Sends all hogs to one CPU, whatever runs there."""

    cpu: int = option(0, "which CPU")

    def enqueue(self, task: Task) -> None:
        self.dispatch(task, self.cpu if task.comm == "hogs" else CPU_ANY)


class Thrashes(Deadline):
    """Interrupts every task on every CPU all the time."""

    def decide(self, batch: Batch) -> list[int]:
        self.nr_held = 1  # it is called again at once
        # Several times, so that it is too often on a slow, emulated machine too.
        for cpu in (*self.machine.topology.online,) * 8:
            self.machine.kick(cpu, preempt=True)
        return super().decide(batch)


class Claims(Deadline):
    """Never decides, and says that it holds the tasks."""

    def decide(self, batch: Batch) -> list[int]:
        self.nr_held = min(self.nr_held + batch.nr, 4000)
        return []


class Twice(Deadline):
    """Decides every task twice."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        return [*flat, *flat] if len(flat) < 200 * WIDTH else flat


class Invents(Deadline):
    """Decides its tasks, and tasks that do not exist."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        for pid in (-1, 0, 1, HALF, self.machine.random.randrange(2, 100_000)):
            flat += (2**63, pid, -1, 0, 0, 0, 0)
        return flat


class WrongCpu(Deadline):
    """Names CPUs that do not exist, or that the task may not use."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        for at in range(0, len(flat), WIDTH):
            flat[at + 2] = self.machine.random.choice((0, 1, 2, 999, -3, -1000, HALF, -HALF))
        return flat


class WrongSlice(Deadline):
    """Grants slices of 0, of a nanosecond, and of a year."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        for at in range(0, len(flat), WIDTH):
            flat[at + 3] = self.machine.random.choice((0, 1, YEAR_NS, 2**64 - 1))
        return flat


class WrongKeys(Deadline):
    """Gives the least and the greatest keys that fit."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        for at in range(0, len(flat), WIDTH):
            flat[at + 4] = self.machine.random.choice((0, 1, 2**63 - 1, 2**63, 2**64 - 1))
        return flat


class Threads(Deadline):
    """Has eight threads that compute for a while."""

    def __init__(self) -> None:
        super().__init__()
        for _ in range(8):
            threading.Thread(target=self._compute, daemon=True).start()

    def _compute(self) -> None:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            sum(range(1000))


class Stuck(Deadline):
    """Calls C code that never returns, from the hundredth batch on."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls > 100:
            collections.deque(itertools.repeat(None), maxlen=0)
        return super().decide(batch)


class NoNumbers(Deadline):
    """Answers with something that is not a decision."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        flat[3:4] = [-1]
        return flat


class Eats(Deadline):
    """Allocates a megabyte with each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.stomach: list[bytearray] = []

    def decide(self, batch: Batch) -> list[int]:
        self.stomach.append(bytearray(1 << 20))
        return super().decide(batch)


class Garbage(Deadline):
    """Sends wrong decisions: some twice, some for other tasks."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        pick = self.machine.random.choice
        for at in range(0, len(flat), WIDTH):
            flat[at + 2] = pick((-1, 0, 1, -2, 999, HALF, -HALF))  # cpu
            flat[at + 3] = pick((0, 1, 10**16, 2**63, 2**64 - 1))  # slice_ns
            # Deadline computes from the wrong states that come back: numbers grow too large.
            vtime_ns, state = flat[at + 4] % 2**64, flat[at + 5] % 2**64
            flat[at + 4] = pick((0, 1, 2**63, 2**64 - 1, vtime_ns))
            flat[at + 5] = pick((0, 2**64 - 1, state))
            flat[at + 6] = pick((0, 1, 2, 2**64 - 1))  # flags
        if flat and len(flat) < 100 * WIDTH:
            stale = [flat[0] >> 1, *flat[1:WIDTH]]
            stranger = [*flat[:1], pick((0, -1, 1, HALF)), *flat[2:WIDTH]]
            flat += flat[:WIDTH] + stale + stranger
        return flat


class Corrupt(Deadline):
    """Overwrites the ring of decisions, as a stray pointer would."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 300:
            # The producer's position, far ahead: the kernel would read decisions that do not exist.
            position = ctypes.c_uint64.from_address(_user_ring())
            position.value += (1 << 40) + 4
        return super().decide(batch)


class Unmakeable(Deadline):
    """Cannot be constructed."""

    def __init__(self) -> None:
        raise RuntimeError("not possible")


def _user_ring() -> int:
    """The address of the ring of decisions: the largest BPF map that this process can write."""
    found = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, *_, name = line.split()
        if name == "anon_inode:bpf-map" and mode.startswith("rw"):
            begin, end = (int(one, 16) for one in span.split("-"))
            found[end - begin] = begin
    return found[max(found)]
