# SPDX-License-Identifier: GPL-2.0-only
"""Topologies of virtual machines."""

from __future__ import annotations

from pyland.topology import FULL_CAPACITY, Cpu, Topology


def make_topology(cpus: int = 2, *, nodes: int = 1, llcs: int = 1, threads: int = 1) -> Topology:
    """`cpus` CPUs in `nodes` NUMA nodes, `llcs` last-level caches each, `threads` a core.

    CPU numbers go by siblings, then cores, caches and nodes. Raises ValueError if the CPUs
    cannot be divided evenly.
    """
    groups = nodes * llcs
    if min(cpus, nodes, llcs, threads) < 1 or cpus % (groups * threads):
        raise ValueError(
            f"{cpus} CPUs cannot be shared out over {nodes} nodes of {llcs} caches, "
            f"{threads} threads a core"
        )
    in_llc = cpus // groups
    return Topology(
        cpus=tuple(
            Cpu(
                id=cpu,
                smt_siblings=tuple(range(cpu - cpu % threads, cpu - cpu % threads + threads)),
                llc=cpu // in_llc,
                node=cpu // (in_llc * llcs),
                capacity=FULL_CAPACITY,
            )
            for cpu in range(cpus)
        ),
        nr_cpu_ids=cpus,
    )
