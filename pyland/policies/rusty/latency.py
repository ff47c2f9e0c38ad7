# SPDX-License-Identifier: GPL-2.0-only
"""How soon after its virtual time a task is due: scx_rusty's measure of interactivity.

A task that wakes others often, and sleeps often itself, is in the middle of a chain of tasks:
each microsecond that it waits is one for all of them. It is due sooner than its usual run
would have it.
"""

from __future__ import annotations

_FREQUENCY_WINDOW_NS = 100_000_000
_FREQUENCY_MAX = 100_000
_PRIORITY_MAX = 39
RUN_MAX_NS = 100_000_000
"""Of a task's usual run this much counts at most."""
_SCALE_MAX = 10_000

# A step is 25 %: the kernel's weights of the nice values from -20 to 19.
_WEIGHTS: tuple[int, ...] = (
    *(88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916),
    *(9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277),
    *(1024, 820, 655, 526, 423, 335, 272, 215, 172, 137),
    *(110, 87, 70, 56, 45, 36, 29, 23, 18, 15),
)
_SCALES = tuple(min(weight, _SCALE_MAX) for weight in reversed(_WEIGHTS[:-1]))

DUE_NUMERATOR, DUE_DENOMINATOR = 50, 9
"""A task that computes is due after its run times 100 over the smallest scale, which is 18."""


def rank_of(sleep_interval_ns: int, waker_interval_ns: int, weight: int) -> int:
    """How much a task is in the middle of a chain, from 0 to 39: a step is a factor of two.

    The arguments are the record's fields; an interval of 0 is not known, and counts as never. A
    frequency is 100 ms over the average interval; scx_rusty averages frequencies instead.
    """
    # Comparisons, because a call of min() takes longer than all the rest.
    if not sleep_interval_ns or not 0 < waker_interval_ns <= _FREQUENCY_WINDOW_NS:
        return 0
    wakes = _FREQUENCY_WINDOW_NS // waker_interval_ns
    blocks = _FREQUENCY_WINDOW_NS // sleep_interval_ns
    if blocks > _FREQUENCY_MAX:
        blocks = _FREQUENCY_MAX
    if wakes > _FREQUENCY_MAX:
        wakes = _FREQUENCY_MAX
    often = blocks * wakes * wakes
    if weight != 100:
        often = often * weight // 100
    rank = (often + 1).bit_length()
    return rank if rank < _PRIORITY_MAX else _PRIORITY_MAX


def interactive_below_ns(rank: int, weight: int) -> int:
    """A task of this rank and weight with a shorter usual run is due sooner than one that computes.

    If its run is not shorter, it is due after `run_ns * DUE_NUMERATOR // DUE_DENOMINATOR`. Both
    are true of runs up to `RUN_MAX_NS`.
    """
    return 2 * -(-((1 << rank >> 1) - 1) * weight // 100) if rank else 0


def due_after_ns(run_ns: int, rank: int, weight: int) -> int:
    """The time from a task's virtual time to its deadline (task_compute_dl of scx_rusty 1.1.2).

    `run_ns` is the task's average CPU time from a wakeup to the next sleep; of it 100 ms count at
    most. In scx_rusty all of it counts, and a task that has computed for a minute waits for one
    that begins until that has computed for as long.
    """
    if run_ns > RUN_MAX_NS:
        run_ns = RUN_MAX_NS
    half_ns = run_ns >> 1
    if weight != 100:
        half_ns = half_ns * 100 // weight
    priority = rank - (half_ns + 1).bit_length()
    if priority <= 0:
        return run_ns * DUE_NUMERATOR // DUE_DENOMINATOR
    return run_ns * 100 // _SCALES[priority if priority < _PRIORITY_MAX else _PRIORITY_MAX - 1]
