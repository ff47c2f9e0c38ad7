# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs are a domain: those of a last-level cache, or as `cpumasks` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyland.errors import UsageError
from pyland.topology import Topology

DOMAINS_MAX = 64
"""The limit of scx_rusty, in which a set of domains is a 64-bit number."""


class Home(NamedTuple):
    """The CPUs of one domain."""

    cpus: int
    """A mask: bit n for CPU n."""
    node: int
    """The NUMA node of its first CPU."""

    @property
    def nr_cpus(self) -> int:
        """How many CPUs it has."""
        return self.cpus.bit_count()


def homes(topology: Topology, cpumasks: str = "") -> list[Home]:
    """The domains of a machine; `cpumasks` is empty, or hexadecimal masks with commas between.

    A CPU of a mask that is not online is left out, and so is a mask without any. Raises
    UsageError if a mask is no number, if a CPU is in none or in two, and for more than
    `DOMAINS_MAX` domains.
    """
    masks = _given(cpumasks, topology) if cpumasks.strip() else _caches(topology)
    node_of = {cpu.id: cpu.node for cpu in topology.cpus}
    found = [Home(mask, node_of[(mask & -mask).bit_length() - 1]) for mask in masks if mask]
    if len(found) > DOMAINS_MAX:
        raise UsageError(
            f"rusty: this machine has {len(found)} caches, and {DOMAINS_MAX} domains are the most: "
            "give larger ones with --policy-opt cpumasks"
        )
    return found


def in_turns(found: Sequence[Home]) -> list[int]:
    """The numbers of the domains, each as often as it has CPUs, and spread evenly."""
    turns = [
        ((at + 0.5) / home.nr_cpus, number)
        for number, home in enumerate(found)
        for at in range(home.nr_cpus)
    ]
    return [number for _, number in sorted(turns)]


def _caches(topology: Topology) -> list[int]:
    masks = [0] * topology.nr_llcs
    for cpu in topology.cpus:
        masks[cpu.llc] |= 1 << cpu.id
    return masks


def _given(text: str, topology: Topology) -> list[int]:
    online = sum(1 << cpu for cpu in topology.online)
    masks: list[int] = []
    taken = 0
    for part in text.replace(",", " ").split():
        mask = _mask(part)
        if beyond := mask >> topology.nr_cpu_ids:
            cpu = topology.nr_cpu_ids + (beyond & -beyond).bit_length() - 1
            most = topology.nr_cpu_ids - 1
            raise UsageError(f"{_where(part)} has CPU {cpu}: this machine has 0 to {most}")
        if twice := mask & taken:
            cpu = (twice & -twice).bit_length() - 1
            raise UsageError(f"{_where(part)} has CPU {cpu}, and so has a mask before it")
        taken |= mask
        masks.append(mask & online)
    if missing := online & ~taken:
        cpu = (missing & -missing).bit_length() - 1
        raise UsageError(f"{_where(text)}: CPU {cpu} is in no mask; each CPU must be in one")
    return masks


def _mask(part: str) -> int:
    try:
        return int(part, 16)
    except ValueError:
        raise UsageError(
            f"{_where(part)} is no mask: it takes hexadecimal numbers, such as 0x0f,0xf0"
        ) from None


def _where(part: str) -> str:
    return f"--policy-opt cpumasks: {part}"
