# SPDX-License-Identifier: GPL-2.0-only
"""The machine as a policy sees it, wherever the policy runs."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass

from pyland.topology import Topology

CPU_ANY = -1
"""A decision's CPU: any that the task may use; an idle one if there is one."""

NR_DOMAINS = 64
"""How many queues there are that a policy can give to groups of CPUs."""

FULL_PERFORMANCE = 1024
"""A CPU's highest performance target."""

_KICK = 2
_PREEMPT = 1


def domain_queue(domain: int) -> int:
    """A decision's CPU: the first one of this domain (0 to `NR_DOMAINS` - 1) that is free."""
    return -2 - domain


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of the command line, in nanoseconds, for a task of weight 100."""

    longest_ns: int = 20_000_000
    """What a task gets when nobody waits for its CPU."""
    shortest_ns: int = 1_000_000
    """What a task gets when many wait."""


class Machine(ABC):
    """What a policy can know and do; all else would make it behave differently elsewhere."""

    topology: Topology
    """The CPUs that are online, and what they share."""
    slices: Slices
    """The command's `--slice-us` and `--slice-us-min`."""
    random: random.Random
    """The one source of chance; seeded where runs must repeat."""
    pending: list[int]
    """Decisions, flat, to be carried out after the present call; `Policy.dispatch` adds here."""

    def __init__(self, topology: Topology, slices: Slices | None = None, seed: int = 0) -> None:
        """The machine's fixed part."""
        self.topology = topology
        self.slices = slices or Slices()
        self.random = random.Random(seed)
        self.pending = []

    @property
    @abstractmethod
    def now_ns(self) -> int:
        """The time when the scheduler last got a CPU, on the clock of all record times."""

    @abstractmethod
    def is_idle(self, cpu: int) -> bool:
        """Has the CPU nothing to run? Read from memory; may be out of date by the time it is used.

        Raises IndexError for a CPU that the machine does not have.
        """

    @abstractmethod
    def set_domain(self, cpu: int, domain: int) -> None:
        """Let a CPU take its tasks from this domain's queue; at first that of its LLC's number.

        A CPU that would idle also takes tasks of other domains. Raises IndexError for a
        CPU and ValueError for a domain (0 to `NR_DOMAINS` - 1) that there is not.
        """

    @abstractmethod
    def set_performance(self, cpu: int, target: int) -> None:
        """Ask the CPU's frequency governor for a performance of 0 to 1024, relative to its best.

        It has an effect only under the schedutil governor. Raises IndexError for a CPU and
        ValueError for a target that there is not.
        """

    def idle_cpus(self) -> list[int]:
        """The online CPUs that have nothing to run."""
        return [cpu for cpu in self.topology.online if self.is_idle(cpu)]

    def kick(self, cpu: int, *, preempt: bool = False) -> None:
        """Make the CPU look for a task: if it idles, or with `preempt` at once in any case.

        Raises IndexError for a CPU that the machine does not have.
        """
        self._check_cpu(cpu)
        self.pending += (0, 0, cpu, 0, 0, 0, _KICK | (_PREEMPT if preempt else 0))

    def _check_cpu(self, cpu: int) -> None:
        if not 0 <= cpu < self.topology.nr_cpu_ids:
            raise IndexError(f"CPU {cpu}: there are 0 to {self.topology.nr_cpu_ids - 1}")

    def _check_domain(self, domain: int) -> None:
        if not 0 <= domain < NR_DOMAINS:
            raise ValueError(f"domain {domain}: there are 0 to {NR_DOMAINS - 1}")

    def _check_performance(self, target: int) -> None:
        if not 0 <= target <= FULL_PERFORMANCE:
            raise ValueError(f"performance {target}: it takes 0 to {FULL_PERFORMANCE}")
