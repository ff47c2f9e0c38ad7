# SPDX-License-Identifier: GPL-2.0-only
"""How much CPU time each layer uses, averaged, and how many CPUs that calls for."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

from pyland.policies.layered.layers import Layer

HALF_LIFE_S = 0.1
"""The half-life of the averages: usage of this age counts half as much as that of this moment."""
_IDLE_UTIL = 0.01
"""A layer that uses less counts as idle."""
COMPENSATION_MAX = 20.0


class Usage(NamedTuple):
    """How much CPU time a layer used, in seconds."""

    owned_s: float = 0.0
    """On the layer's own CPUs; also what its tasks used on a fallback CPU."""
    open_s: float = 0.0
    """On other CPUs."""


class Utilisation:
    """The utilisation of one layer in CPUs: 2.0 is all time of two CPUs."""

    def __init__(self, layer: Layer) -> None:
        """The layer has used nothing yet."""
        self._layer = layer
        self.owned = self.open = 0.0
        """The averages of both parts of `Usage`."""
        self.peak = 0.0
        """The highest recent utilisation, if the layer remembers peaks."""

    def add(self, usage: Usage, elapsed_s: float) -> None:
        """Count what was used in the last `elapsed_s` seconds."""
        if elapsed_s <= 0:
            return
        keep = 0.5 ** (elapsed_s / HALF_LIFE_S)
        self.owned = self.owned * keep + usage.owned_s / elapsed_s * (1 - keep)
        self.open = self.open * keep + usage.open_s / elapsed_s * (1 - keep)

    def wanted(self, nr_cpus: int, elapsed_s: float) -> tuple[float, float]:
        """The utilisation that sizes the layer while it has `nr_cpus`, and the peak."""
        util = self.owned
        # A layer without a CPU of its own gets all its time on CPUs of others, so that counts.
        if self._layer.options.util_includes_open_cputime or nr_cpus == 0:
            util += self.open
        if util < _IDLE_UTIL:
            util = 0.0
        half_life_s = self._layer.options.util_peak_half_life_ms / 1000
        if half_life_s:
            self.peak = max(self.peak * 0.5 ** (elapsed_s / half_life_s), util)
        else:
            self.peak = util
        return util, self.peak


def target_range(util: float, peak: float, util_range: tuple[float, float]) -> tuple[int, float]:
    """The fewest and the most CPUs with which the utilisation of a CPU is within the range.

    The most is infinite if the range begins at 0.
    """
    low = ceil(round(util / util_range[1], 9))
    if not util_range[0]:
        return low, float("inf")
    return low, max(floor(round(max(util, peak) / util_range[0], 9)), low)


def target(layer: Layer, util: float, peak: float, nr_now: int, nr_all: int, unit: int = 1) -> int:
    """How many CPUs a layer should have that has `nr_now`, on a machine with `nr_all`.

    It keeps its number while that is in the range. It shrinks by half of the way, but at least by
    a core of `unit` CPUs where it can: half of what is left may be less than a core for ever.
    """
    assert layer.options.util_range
    least, most = layer.cpus_range(nr_all)
    low, high = target_range(util, peak, layer.options.util_range)
    wanted = min(max(nr_now, low), high)
    wanted = int(min(max(wanted, least), most, nr_all))
    if wanted < nr_now:
        half = nr_now - ceil((nr_now - wanted) / 2)
        wanted = max(half // unit * unit, wanted)
    return wanted


def compensation(elapsed_s: float, lost_s: Sequence[float]) -> float:
    """By how much the time of these CPUs has to be scaled up for what interrupts took of it.

    `lost_s` is the time that interrupts and the hypervisor took of each CPU.
    """
    if elapsed_s <= 0 or not lost_s:
        return 1.0
    scales = [elapsed_s / max(elapsed_s - lost, elapsed_s / COMPENSATION_MAX) for lost in lost_s]
    return min(max(sum(scales) / len(scales), 1.0), COMPENSATION_MAX)
