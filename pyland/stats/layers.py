# SPDX-License-Identifier: GPL-2.0-only
"""Shows the layers of a running pyland whose policy is `layered`, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyland.cpumask import cpus_of
from pyland.output.printing import as_json
from pyland.policies.layered.numbers import by_layer
from pyland.stats.monitor import Monitor, own_values
from pyland.stats.table import Table

_HEADS = {
    "util": "util",
    "open": "open%",
    "load": "load",
    "tasks": "tasks",
    "waiting": "wait",
    "wait_us": "wait_us",
    "asked": "asked",
    "moved": "moved",
    "cpus": "cpus",
    "range": "range",
}
"""The columns in the order of a row."""


@dataclass(frozen=True)
class LayersMonitor(Monitor):
    """A block for each answer: a row for each layer, and one for the machine."""

    def told(self, found: Any, table: Table, notes: Any = None) -> str:
        """The block; one line that says so if the policy shows no layers."""
        super().told(found, table)
        gauges = own_values(found.get("policy_gauges"), "policy_gauge")
        layers = by_layer(gauges)
        if self.json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            shown = [{"layer": name, **values} for name, values in layers]
            return as_json({"time": now, "policy": found.get("policy"), "layers": shown})
        if not layers:
            return f"the policy is {found.get('policy')}: it has no layers to show"
        return "\n".join(rows(layers, found))


def rows(
    layers: Sequence[tuple[str, Mapping[str, float]]], found: Mapping[str, Any]
) -> Iterator[str]:
    """The lines of a block."""
    width = max(5, *(len(name) for name, _ in layers))
    heads = " ".join(f"{head:>7}" for head in _HEADS.values())
    yield f"{'layer':{width}} {heads}  mask"
    for name, values in layers:
        cells = " ".join(f"{_cell(column, values):>7}" for column in _HEADS)
        yield f"{name:{width}} {cells}  {_mask(values)}"
    util = sum(values.get("util", 0) for _, values in layers)
    decided = found["direct"] + found["forwarded"] + found["continued"]
    direct = 100 * found["direct"] / decided if decided else 0
    yield (
        f"all: util {util:.2f} of {found.get('nr_cpus')} CPUs, {direct:.0f} % direct, "
        f"{found['preemptions']} preempted, {found['fallback_lag'] + found['fallback_idle']} "
        "without a decision"
    )


def _cell(column: str, values: Mapping[str, float]) -> str:
    if column == "range":
        if not {"fewest", "most"} <= values.keys():
            return "-"
        return f"{values['fewest']:.0f}-{values['most']:.0f}"
    if column not in values:
        return "-"
    value = values[column]
    if column == "open":
        return f"{100 * value:.0f}"
    return f"{value:.2f}" if column in ("util", "load") else f"{value:.0f}"


def _mask(values: Mapping[str, float]) -> str:
    """The mask in hexadecimal, and the numbers of the CPUs."""
    mask = int(values.get("mask", -1))
    if mask < 0:
        return "-"
    numbers = ",".join(map(str, cpus_of(mask)))
    return f"{mask:x} [{numbers}]" if mask else "none"
