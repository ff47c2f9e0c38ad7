# SPDX-License-Identifier: GPL-2.0-only
"""The machine as a policy sees it, wherever the policy runs."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pyland.decision import KICK, PREEMPT
from pyland.domains import Domains
from pyland.stats.numbers import PolicyNumbers
from pyland.topology import Topology

FULL_PERFORMANCE = 1024
"""A CPU's highest performance target."""


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of the command line, in nanoseconds, for a task of weight 100."""

    longest_ns: int = 20_000_000
    """The slice of a task while no task waits for its CPU."""
    shortest_ns: int = 1_000_000
    """The slice of a task while many tasks wait."""


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
        """The machine's fixed part."""
        self._numbers = numbers or PolicyNumbers()
        self.topology = topology
        self.slices = slices or Slices()
        self.random = random.Random(seed)
        self.outgoing = []
        self.domains = self._make_domains()

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
    def set_performance(self, cpu: int, target: int) -> None:
        """Ask the CPU's frequency governor for a performance of 0 to 1024, relative to its best.

        It has an effect only under the schedutil governor. Raises IndexError for a CPU that
        the machine does not have, and ValueError for a target outside the range.
        """

    def gauge(self, name: str, value: float) -> None:
        """Show a number of the policy's own, with its value of this moment, for 0.14 us.

        It appears in statistics and metrics. A name has a to z, 0 to 9 and _, begins with a
        letter, and has at most 40 characters; ValueError for other names, and for one that is a
        counter. Of a policy's gauges and counters the first 63 are shown.
        """
        self._numbers.gauge(name, value)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the policy's own, for 0.21 us; names as for `gauge`.

        It begins at 0 with the policy. Raises ValueError if `by` is negative.
        """
        self._numbers.count(name, by)

    def idle_cpus(self) -> list[int]:
        """The online CPUs that have nothing to run."""
        return [cpu for cpu in self.topology.online if self.is_idle(cpu)]

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
