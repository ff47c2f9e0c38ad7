# SPDX-License-Identifier: GPL-2.0-only
"""Load, as scx_rusty measures it: how much of the time a task wants a CPU, times its weight.

The *duty cycle* of a task is the part of the time in which it runs or waits for a CPU, 0 to 1.
Its load is the duty cycle times its weight: a task of weight 100 that never sleeps has load 100.
Load and duty cycle of a domain are the sums of those of its tasks.

Plain functions of numbers, without a clock or a machine. Formulas from scx_rusty 1.1.2 and
scx_utils (infeasible.rs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

MAX_WEIGHT = 10_000


def decayed(average: float, value: float, passed_ns: int, half_life_ns: int) -> float:
    """A running average after `passed_ns` in which the averaged thing was `value`.

    After one half-life the old average counts half. The value is taken as constant in this
    time, so two steps give the same as one of their length. scx_rusty adds up whole
    half-lives and a part of the present one; this is its continuous form.
    """
    keeps: float = 0.5 ** (passed_ns / half_life_ns)
    return average * keeps + value * (1.0 - keeps)


def feasible_limit(duty_by_weight: Mapping[int, float], nr_cpus: int) -> float:
    """The highest weight that has its full effect on a machine of `nr_cpus` CPUs.

    A task cannot use more than one CPU. With two CPUs, one task of weight 10,000 and three of
    100, the first would be due 97 % of both; it gets one CPU and the others share the second.
    In their balance it weighs as much as all that fits on one CPU: 300. Weights above the
    limit are *infeasible*, and count as the limit.

    Weights are looked at from the highest down. L is the load and P the number of CPUs that
    are left when the infeasible ones have theirs: a weight above L / P is infeasible. P stays
    positive: a weight above L / P has a duty cycle below P, because it is part of L.

    If all are infeasible there are fewer runnable tasks than CPUs: each has a CPU, and all
    count as the lowest weight. Without tasks the limit is `MAX_WEIGHT`.
    """
    if not duty_by_weight:
        return float(MAX_WEIGHT)
    load = sum(weight * duty for weight, duty in duty_by_weight.items())
    cpus = float(nr_cpus)
    lowest = min(duty_by_weight)
    for weight in sorted(duty_by_weight, reverse=True):
        if load >= weight * cpus:
            return load / cpus
        duty = duty_by_weight[weight]
        load -= weight * duty
        cpus -= duty
    return float(lowest)


def duty_sums(tasks: Iterable[tuple[int, float]]) -> dict[int, float]:
    """The duty cycles of tasks, added up by weight; a task is its weight and its duty cycle."""
    sums: dict[int, float] = {}
    for weight, duty in tasks:
        sums[weight] = sums.get(weight, 0.0) + duty
    return sums


def domain_loads(
    tasks: Iterable[tuple[int, int, float]], runnable: Sequence[float], limit: float
) -> list[float]:
    """The load of each domain; a task is its domain, its weight and its duty cycle.

    `runnable` is the average number of runnable tasks of each domain. A weight above `limit` counts
    as the limit. If the tasks' duty cycles are more than the average, some of them sleep or have
    ended since their last record, and all count for less; if they are less, other tasks run there,
    each of which counts as 100.
    """
    loads, duties = [0.0] * len(runnable), [0.0] * len(runnable)
    for domain, weight, duty in tasks:
        loads[domain] += min(weight, limit) * duty
        duties[domain] += duty
    for domain, nr in enumerate(runnable):
        if duties[domain] > nr:
            loads[domain] *= max(nr, 0.0) / duties[domain]
        else:
            loads[domain] += 100 * (nr - duties[domain])
    return loads
