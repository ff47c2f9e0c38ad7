# SPDX-License-Identifier: GPL-2.0-only
"""The guest's CPUs: how many, and which of them share a core, a cache or a node."""

from __future__ import annotations

import re
from dataclasses import dataclass

MANY = "nodes=2,cores=2,threads=2"
"""Eight CPUs with siblings, two caches and two nodes: where tests and benchmarks have many CPUs."""
MOST_CPUS = 255  # what QEMU's machine starts without an emulated IOMMU


class TopologyError(Exception):
    """An impossible layout; the message is one line."""


@dataclass(frozen=True)
class Topology:
    """`nodes` NUMA nodes of `llcs` last-level caches, each of `cores` with `threads` CPUs."""

    nodes: int = 1
    llcs: int = 1
    cores: int = 2
    threads: int = 1

    @property
    def cpus(self) -> int:
        """How many CPUs that makes."""
        return self.nodes * self.llcs * self.cores * self.threads


def parse(text: str | None, cpus: int | None) -> Topology:
    """The layout of `--topology` and `--cpus`; TopologyError if they contradict each other."""
    if text is None:
        return _checked(Topology(cores=cpus or 2))
    words: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"(nodes|llcs|cores|threads)=(\d{1,3})", part.strip())
        if not found or int(found[2]) < 1 or found[1] in words:
            raise TopologyError(
                f"--topology {text}: it takes nodes=N,llcs=N,cores=N,threads=N, each once and "
                f"at least 1, not {part!r}"
            )
        words[found[1]] = int(found[2])
    if "cores" not in words:
        others = Topology(**{**words, "cores": 1}).cpus
        words["cores"] = max((cpus or others) // others, 1)
    layout = Topology(**words)
    if cpus is not None and cpus != layout.cpus:
        raise TopologyError(f"--topology {text} makes {layout.cpus} CPUs, --cpus says {cpus}")
    return _checked(layout)


def _checked(layout: Topology) -> Topology:
    if layout.cpus > MOST_CPUS:
        raise TopologyError(f"{layout.cpus} CPUs: QEMU starts {MOST_CPUS} at most")
    return layout


def qemu_arguments(layout: Topology, memory_mib: int) -> list[str]:
    """QEMU's arguments: a socket for each last-level cache, because QEMU has one per socket."""
    sockets = layout.nodes * layout.llcs
    shape = f"sockets={sockets},cores={layout.cores},threads={layout.threads}"
    words = ["-smp", f"{layout.cpus},{shape},maxcpus={layout.cpus}"]
    if layout.nodes > 1:
        for node in range(layout.nodes):
            # The nodes together must have all of the memory.
            size = memory_mib // layout.nodes + (0 if node else memory_mib % layout.nodes)
            words += ["-object", f"memory-backend-ram,id=node{node},size={size}M"]
            words += ["-numa", f"node,nodeid={node},memdev=node{node}"]
        for socket in range(sockets):
            words += ["-numa", f"cpu,node-id={socket // layout.llcs},socket-id={socket}"]
    return words
