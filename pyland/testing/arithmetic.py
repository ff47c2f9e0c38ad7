# SPDX-License-Identifier: GPL-2.0-only
"""Slices and keys in numbers, as in bpf/arithmetic.bpf.h: one table of cases is run with both.

Times are in nanoseconds, a weight is 1 to 10000. BPF's numbers wrap at 2^64; here a key that is
behind another one is the lower number, also where BPF's have wrapped between the two.
"""

from __future__ import annotations

SLICE_FLOOR_NS = 100_000
SLICE_CEIL_NS = 100_000_000
WEIGHT_MAX = 10_000
VTIME_WINDOW_NS = 1 << 40
VTIME_FIRST_MAX_NS = 1 << 62
_WRAPS_NS = 1 << 64


def _signed(difference: int) -> int:
    """What BPF sees of a difference: nearer to 0 than 2^63."""
    return (difference + _WRAPS_NS // 2) % _WRAPS_NS - _WRAPS_NS // 2


def average(old: int, new: int) -> int:
    """3/4 old and 1/4 new; an `old` of 0 is not known yet."""
    return old - old // 4 + new // 4 if old else new


def slice_ceil_ns(longest_ns: int) -> int:
    """The longest slice of any task, where `longest_ns` is that of weight 100."""
    return max(longest_ns, SLICE_CEIL_NS)


def slice_within(slice_ns: int, longest_ns: int) -> int:
    """A slice that a machine can live with."""
    return min(max(slice_ns, SLICE_FLOOR_NS), slice_ceil_ns(longest_ns))


def is_no_slice(slice_ns: int, longest_ns: int) -> bool:
    """True for a slice that no weight explains."""
    return slice_ns > slice_ceil_ns(longest_ns) * (WEIGHT_MAX // 100)


def slice_of_weight(slice_ns: int, weight: int) -> int:
    """The slice of a task of this weight, where that of weight 100 is `slice_ns`."""
    return slice_ns * weight // 100


def slice_at_weight_100(slice_ns: int, weight: int) -> int:
    """The other way round; a weight of 0 is not known yet."""
    return slice_ns * 100 // (weight or 100)


def usual_slice_ns(usual_ns: int, slice_ns: int) -> int:
    """What slices are like, after one more of this length at weight 100."""
    if slice_ns > usual_ns:
        return slice_ns
    return average(usual_ns, slice_ns) if slice_ns else usual_ns


def slice_goes_on(
    left_ns: int,
    weight: int,
    woke_up: bool,
    holds_asleep: bool,
    holds_until_ns: int,
    now_ns: int,
    usual_ns: int,
) -> bool:
    """Whether a decision with so much of its slice left is one for the task's next turn."""
    return (
        left_ns >= SLICE_FLOOR_NS
        and (not woke_up or (holds_asleep and _signed(holds_until_ns - now_ns) > 0))
        and slice_at_weight_100(left_ns, weight) <= usual_ns
    )


def vtime_within(vtime_ns: int, now_ns: int) -> int:
    """A key near `now_ns`, the highest that has run; the first keys, where that is 0, are free."""
    if not now_ns and vtime_ns < VTIME_FIRST_MAX_NS:
        return vtime_ns
    ahead_ns = _signed(vtime_ns - now_ns)
    return now_ns + min(max(ahead_ns, -VTIME_WINDOW_NS), VTIME_WINDOW_NS)


def vtime_after(last_ns: int, used_ns: int, weight: int, longest_ns: int) -> int:
    """A task's last key, gone on by what it used, a longest slice at most."""
    return last_ns + min(used_ns, longest_ns) * 100 // (weight or 1)


def is_due_later(running_vtime_ns: int, ran_ns: int, vtime_ns: int, margin_ns: int) -> bool:
    """Is the task that runs, for `ran_ns` so far, due later by more than a margin?"""
    return _signed(running_vtime_ns + ran_ns - vtime_ns) > _signed(margin_ns)
