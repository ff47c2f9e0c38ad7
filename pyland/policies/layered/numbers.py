# SPDX-License-Identifier: GPL-2.0-only
"""The layers' numbers as gauges of the policy: written here, and read by `pyland layers`.

A gauge is named after its layer and column, such as `l0_batch_util`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyland.machine import Machine
from pyland.policies.layered.layers import Layer

if TYPE_CHECKING:
    from pyland.policies.layered.clockwork import Clockwork

COLUMNS = (
    "util",
    "cpus",
    "mask",
    "tasks",
    "load",
    "waiting",
    "open",
    "moved",
    "asked",
    "wait_us",
    "fewest",
    "most",
)
"""The columns. For 16 layers they are 192 numbers; policies of layers have the rest of the 255.

`util` is in CPUs, `open` the share of it on CPUs of others, `load` the weight of its runnable tasks
in units of nice 0, `moved` and `asked` are per second, `wait_us` is how long the head of its queues
has waited, `fewest` and `most` are the least and the most CPUs that it has had.
"""
_NAME_MAX = 22
MASK_CPUS = 53
"""The most CPUs whose mask a gauge, a float, holds exactly."""
_PARTS = re.compile(rf"l([0-9a-f])_(\w+?)_({'|'.join(COLUMNS)})")


def prefix(index: int, name: str) -> str:
    """The begin of a layer's gauges: its number, and its name as far as a gauge's can have it."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_NAME_MAX].strip("_")
    return f"l{index:x}_{plain or 'layer'}_"


def by_layer(gauges: Mapping[str, float]) -> list[tuple[str, dict[str, float]]]:
    """The name and the columns of each layer, from the gauges of the statistics."""
    found: dict[int, tuple[str, dict[str, float]]] = {}
    for name, value in gauges.items():
        if parts := _PARTS.fullmatch(name):
            number, layer, column = parts.groups()
            found.setdefault(int(number, 16), (layer, {}))[1][column] = value
    return [found[number] for number in sorted(found)]


class Numbers:
    """Shows the numbers of all layers at each sizing."""

    def __init__(self, machine: Machine, layers: Sequence[Layer]) -> None:
        """Nothing is shown yet."""
        self._machine = machine
        self._prefixes = [prefix(index, layer.name) for index, layer in enumerate(layers)]
        self._fewest = [1 << 30] * len(layers)
        self._most = [0] * len(layers)
        self._shown_ns = machine.now_ns

    def show(self, work: Clockwork, gauges: Sequence[Any]) -> None:
        """`gauges` are those of all domains."""
        now_ns = self._machine.now_ns
        elapsed_s = max((now_ns - self._shown_ns) / 1e9, 1e-3)
        self._shown_ns = now_ns
        for index, name in enumerate(self._prefixes):
            own = [gauges[number] for number in work.own_domains(index)]
            use, counted = work.sizer.utilisation[index], work.counted[index]
            mask = work.sizer.cpus[index]
            nr_cpus = mask.bit_count()
            self._fewest[index] = min(self._fewest[index], nr_cpus)
            self._most[index] = max(self._most[index], nr_cpus)
            util = use.owned + use.open
            values = {
                "util": util,
                "cpus": nr_cpus,
                "mask": mask if mask.bit_length() <= MASK_CPUS else -1,
                "tasks": sum(gauge.nr_runnable for gauge in own),
                "load": sum(gauge.weight for gauge in own) / 100,
                "waiting": sum(gauge.nr_waiting for gauge in own),
                "open": use.open / util if util else 0.0,
                "moved": counted.moved / elapsed_s,
                "asked": counted.nr / elapsed_s,
                "wait_us": max(gauge.head_waits_ns for gauge in own) / 1000,
                "fewest": self._fewest[index],
                "most": self._most[index],
            }
            for column in COLUMNS:
                self._machine.gauge(name + column, values[column])
