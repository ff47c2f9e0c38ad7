# SPDX-License-Identifier: GPL-2.0-only
"""Whether the layers of a file fit a machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyland.domains import NR_DOMAINS
from pyland.errors import UsageError
from pyland.policies.layered.layers import Layer
from pyland.policies.layered.values import fail
from pyland.topology import FULL_CAPACITY, Topology


def check_machine(layers: Sequence[Layer], topology: Topology) -> None:
    """Raise UsageError if a layer can have no CPU on this machine, or if domains do not suffice."""
    wanted = (1 + len(layers)) * topology.nr_llcs
    if wanted > NR_DOMAINS:
        raise UsageError(
            f"{len(layers)} layers on {topology.nr_llcs} LLCs need {wanted} domains; there are "
            f"{NR_DOMAINS}: use fewer layers, or disable_topology"
        )
    nodes = {cpu.node for cpu in topology.cpus}
    llcs = {cpu.llc for cpu in topology.cpus}
    for layer in layers:
        _check(layer, "nodes", layer.options.nodes, nodes)
        _check(layer, "llcs", layer.options.llcs, llcs)


def _check(layer: Layer, key: str, wanted: Sequence[int], there: Collection[int]) -> None:
    for number in wanted:
        if number not in there:
            has = f"0 to {max(there)}" if len(there) > 1 else "only 0"
            fail(layer.place, layer.name, f'"{key}" has {number}: this machine has {has}')


def flat(topology: Topology) -> Topology:
    """The same CPUs, as cores of one cache and one node."""
    cpus = tuple(
        cpu._replace(smt_siblings=(cpu.id,), llc=0, node=0, capacity=FULL_CAPACITY)
        for cpu in topology.cpus
    )
    return topology._replace(cpus=cpus)
