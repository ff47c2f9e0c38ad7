# SPDX-License-Identifier: GPL-2.0-only
"""Whether the layers of a file fit a machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyland.domains import NR_DOMAINS
from pyland.errors import UsageError
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import Layer
from pyland.policies.layered.values import fail
from pyland.topology import FULL_CAPACITY, Topology


def cores_for(layers: Sequence[Layer], topology: Topology, *, partial: bool) -> Cores:
    """The machine's cores; with `partial` layers may share one, unless a layer is exclusive."""
    return Cores(topology, partial=partial and not any(map(_has_whole_cores, layers)))


def about_cores(layers: Sequence[Layer], *, partial: bool) -> Iterator[str]:
    """A line if `partial` has no effect on these layers, and why."""
    first = next(filter(_has_whole_cores, layers), None)
    if partial and first is not None:
        yield (
            f'{first.place}: layer "{first.name}": allow_partial_core has no effect: '
            "the layer is exclusive, and needs whole cores"
        )


def _has_whole_cores(layer: Layer) -> bool:
    return layer.options.exclusive and not layer.is_open


def check_machine(layers: Sequence[Layer], topology: Topology, nr_caches: int = 0) -> None:
    """Raise UsageError if a layer can have no CPU on this machine, or if it has too few domains.

    `nr_caches` is how many last-level caches there are if `topology` leaves some out.
    """
    nr_caches = nr_caches or topology.nr_llcs
    wanted = nr_caches + len(layers) * topology.nr_llcs
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


def flat(topology: Topology, layers: Sequence[Layer] = ()) -> Topology:
    """A topology of the same CPUs with a single cache and a single node.

    Each CPU is a core of its own, unless a layer is exclusive: then siblings stay siblings.
    """
    whole = any(map(_has_whole_cores, layers))
    cpus = tuple(
        cpu._replace(
            smt_siblings=cpu.smt_siblings if whole else (cpu.id,),
            llc=0,
            node=0,
            capacity=FULL_CAPACITY,
        )
        for cpu in topology.cpus
    )
    return topology._replace(cpus=cpus)
