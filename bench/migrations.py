# SPDX-License-Identifier: GPL-2.0-only
"""Figures for every workload: migrations per context switch, by the distance of the move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bench.figures import MIGRATIONS
from bench.workloads import Metric, Workload
from pyland.topology import Topology, read_topology
from tools.load.migrations import FAR, Distance, Migrations, distances

FAR_ONES = f"far_{MIGRATIONS}"
ABOUT = {
    MIGRATIONS: "tasks that moved to another CPU, for each context switch of the machine",
    f"core_{MIGRATIONS}": "of these, between the siblings of a core",
    f"cache_{MIGRATIONS}": "of these, between the cores of a last-level cache",
    FAR_ONES: "of these, to another last-level cache",
    f"node_{MIGRATIONS}": "of these, to a last-level cache of another NUMA node",
}
"""The names of the figures, and what each counts."""
_PARTS = {
    f"core_{MIGRATIONS}": {Distance.CORE},
    f"cache_{MIGRATIONS}": {Distance.CACHE},
    FAR_ONES: {*FAR},
    f"node_{MIGRATIONS}": {Distance.MACHINE},
}


def names(topology: Topology) -> list[str]:
    """The figures that differ on this machine: all migrations first, then those by distance."""
    there = set(distances(topology))
    parts = {name: of & there for name, of in _PARTS.items()}
    different = [
        name
        for at, (name, of) in enumerate(parts.items())
        if of and of != there and of not in [*parts.values()][:at]
    ]
    return [MIGRATIONS, *different]


def per_switch(
    moved: Mapping[Distance, int], switches: int, wanted: Iterable[str]
) -> dict[str, float]:
    """The wanted figures; empty if there was no context switch."""
    if not switches:
        return {}
    return {
        name: sum(moved.get(each, 0) for each in _PARTS.get(name, Distance)) / switches
        for name in wanted
    }


def counted(workload: Workload) -> Workload:
    """The same workload, whose figures of migrations follow its own figures."""
    wanted = names(read_topology())

    def run(seconds: float, raw: Path) -> dict[str, float]:
        with Migrations() as found:
            figures = workload.run(seconds, raw)
        return figures | per_switch(found.moved, found.switches, wanted)

    more = tuple(Metric(name, "lower", ABOUT[name]) for name in wanted)
    return replace(workload, run=run, metrics=(*workload.metrics, *more))
