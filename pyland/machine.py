# SPDX-License-Identifier: GPL-2.0-only
"""The machine as a policy sees it, wherever the policy runs."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import NamedTuple

from pyland.cpumask import cpus_of, mask_of
from pyland.decision import KICK, PREEMPT
from pyland.domains import Domains
from pyland.stats.numbers import PolicyNumbers
from pyland.task import Task
from pyland.timers import Call, Timer, Timers
from pyland.topology import Topology

FULL_PERFORMANCE = 1024
"""A CPU's highest performance target."""


class Slices(NamedTuple):
    """The slices of the command line, in nanoseconds, for a task of weight 100."""

    longest_ns: int = 20_000_000
    """The slice of a task while no task waits for its CPU."""
    shortest_ns: int = 1_000_000
    """The slice of a task while many tasks wait."""


class CpuState(NamedTuple):
    """What is known of a CPU. Read from memory, so it may be out of date."""

    pid: int
    """The task that runs there; 0: none, or pyland itself."""
    since_ns: int
    """When that task was put on it."""
    vtime_ns: int
    """That task's key; for a task that did not wait, behind all that wait."""
    busy_ns: int
    """CPU time of all tasks there, up to the last that stopped; it only grows."""
    nr_waiting: int
    """Tasks that wait for this CPU alone, at most 50 ms ago."""


class Machine(ABC):
    """All that a policy can know and do: so it behaves the same on every machine."""

    topology: Topology
    """The CPUs that are online, and what they share."""
    slices: Slices
    """The command's `--slice-us` and `--slice-us-min`."""
    random: random.Random
    """The one source of chance; seeded where runs must repeat."""
    domains: Domains
    """Sets of CPUs with a queue: where a decision can place a task, beside naming a CPU."""
    outgoing: list[int]
    """Flat decisions that are carried out after the present call of the policy.

    `Policy.dispatch` and `kick` add to it.
    """

    def __init__(
        self,
        topology: Topology,
        slices: Slices | None = None,
        seed: int = 0,
        numbers: PolicyNumbers | None = None,
    ) -> None:
        """`numbers` is where the policy's own gauges and counters are; by default, in private."""
        self._numbers = numbers or PolicyNumbers()
        self.topology = topology
        self.slices = slices or Slices()
        self.random = random.Random(seed)
        self.outgoing = []
        self.domains = self._make_domains()
        self._timers = Timers()

    def _make_domains(self) -> Domains:
        return Domains(self.topology)

    @property
    @abstractmethod
    def now_ns(self) -> int:
        """The time when the scheduler last got a CPU, on the clock of all record times."""

    @abstractmethod
    def is_idle(self, cpu: int) -> bool:
        """True if the CPU has nothing to run. Read from memory, so it may be out of date.

        Raises IndexError for a CPU that the machine does not have.
        """

    @abstractmethod
    def cpu(self, cpu: int) -> CpuState:
        """What runs on a CPU, and what waits for it.

        Raises IndexError for a CPU that the machine does not have.
        """

    @abstractmethod
    def set_performance(self, cpu: int, target: int) -> None:
        """Ask the CPU's frequency governor for a performance of 0 to 1024, relative to its best.

        It has an effect only under the schedutil governor. Raises IndexError for a CPU that
        the machine does not have, and ValueError for a target outside the range.
        """

    def gauge(self, name: str, value: float) -> None:
        """Show a number of the policy's own, with its value of this moment, for 0.14 us.

        It appears in statistics and metrics. A name has a to z, 0 to 9 and _, begins with a
        letter, and has at most 40 characters; ValueError for other names, and for one that is a
        counter. Of a policy's gauges and counters the first 255 are shown.
        """
        self._numbers.gauge(name, value)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the policy's own, for 0.21 us; names as for `gauge`.

        It begins at 0 with the policy. Raises ValueError if `by` is negative.
        """
        self._numbers.count(name, by)

    def note(self, task: Task | int, text: str) -> None:
        """Say something about a task, such as what the policy takes it for.

        It appears in statistics, `pyland top` and traces; metrics count the tasks with each note.
        `task` may be the task's `pid`. Of the text 40 bytes of UTF-8 are shown. A task has one
        note: the next one replaces it, and an empty text takes it back. 127 tasks have a note; for
        a further one the task that was noted first is forgotten. The same note again takes 0.1 us,
        another one about 1 us. Raises ValueError for a number that no task can have, and TypeError
        for what is no text.
        """
        pid = task if isinstance(task, int) else task.pid
        if not self._numbers.notes.has(pid, text):
            self._numbers.note(pid, text, self._note_time_ns())

    def _note_time_ns(self) -> int:
        """The time of a note, for traces."""
        return self.now_ns

    @abstractmethod
    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        """The policy of a part of a composed policy failed; tells of it once for each place."""

    @abstractmethod
    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """`policy` decides in a part instead of the policy `failed`; tells why."""

    def name_class(self, number: int, name: str) -> None:
        """Name one of the classes that decisions put tasks in (`Policy.dispatch`).

        `pyland latency --by class` and the metrics show it. Names as for `gauge`. Raises ValueError
        for a number outside 0 to `NR_CLASSES` - 1.
        """
        self._numbers.name_class(number, name)

    def idle_cpus(self) -> list[int]:
        """The online CPUs that have nothing to run."""
        return cpus_of(self.idle_mask)

    @property
    def idle_mask(self) -> int:
        """The same CPUs as a mask: bit n is CPU n."""
        return mask_of(cpu for cpu in self.topology.online if self.is_idle(cpu))

    def every(self, interval_ns: int, call: Call) -> Timer:
        """Call this about every `interval_ns`; no more often than the scheduler runs.

        While no task waits, the scheduler runs once in 50 ms to 1 s. The first timer is made in
        the policy's `__init__`. Raises ValueError for an interval below 1.
        """
        if interval_ns < 1:
            raise ValueError(f"interval_ns is {interval_ns}: it takes 1 or more")
        return self._planned(self._timers.add(call, self.now_ns + interval_ns, interval_ns))

    def at(self, time_ns: int, call: Call) -> Timer:
        """Call this once, when `now_ns` has reached the time; otherwise as `every`."""
        return self._planned(self._timers.add(call, time_ns))

    def _planned(self, timer: Timer) -> Timer:
        return timer

    def kick(self, cpu: int, *, preempt: bool = False) -> None:
        """Make the CPU look for a task: if it idles, or with `preempt` at once in any case.

        Raises IndexError for a CPU that the machine does not have.
        """
        self._check_cpu(cpu)
        self.outgoing += (0, 0, cpu, 0, 0, 0, KICK | (PREEMPT if preempt else 0))

    def _check_cpu(self, cpu: int) -> None:
        if not 0 <= cpu < self.topology.nr_cpu_ids:
            raise IndexError(f"CPU {cpu}: there are 0 to {self.topology.nr_cpu_ids - 1}")

    def _check_performance(self, target: int) -> None:
        if not 0 <= target <= FULL_PERFORMANCE:
            raise ValueError(f"performance {target}: it takes 0 to {FULL_PERFORMANCE}")
