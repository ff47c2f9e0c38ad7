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
    """A difference as BPF sees it: a signed number of 64 bits."""
    return (difference + _WRAPS_NS // 2) % _WRAPS_NS - _WRAPS_NS // 2


def average(old: int, new: int) -> int:
    """3/4 old and 1/4 new; an `old` of 0 is not known yet."""
    return old - old // 4 + new // 4 if old else new


def slice_ceil_ns(longest_ns: int) -> int:
    """The longest slice of any task, if `longest_ns` is that of weight 100."""
    return max(longest_ns, SLICE_CEIL_NS)


def slice_within(slice_ns: int, longest_ns: int) -> int:
    """The slice, brought into the range that a machine can work with."""
    return min(max(slice_ns, SLICE_FLOOR_NS), slice_ceil_ns(longest_ns))


def is_no_slice(slice_ns: int, longest_ns: int) -> bool:
    """True for a slice that no weight explains."""
    return slice_ns > slice_ceil_ns(longest_ns) * (WEIGHT_MAX // 100)


def slice_of_weight(slice_ns: int, weight: int) -> int:
    """The slice of a task of this weight, if a task of weight 100 has `slice_ns`."""
    return slice_ns * weight // 100


def slice_at_weight_100(slice_ns: int, weight: int) -> int:
    """The inverse of `slice_of_weight`; a weight of 0 is not known yet."""
    return slice_ns * 100 // (weight or 100)


def usual_slice_ns(usual_ns: int, slice_ns: int) -> int:
    """The usual slice, after one more slice of this length; both at weight 100."""
    if slice_ns > usual_ns:
        return slice_ns
    return average(usual_ns, slice_ns) if slice_ns else usual_ns


def granted_slices(slice_ns: int, wanted: int, longest_ns: int) -> int:
    """How many slices of this length at weight 100 a decision grants: a longest slice at most."""
    return max(min(wanted, longest_ns // slice_ns if slice_ns else 0), 1)


def slice_continues(
    left_ns: int,
    weight: int,
    woke_up: bool,
    lasts_asleep: bool,
    lasts_until_ns: int,
    now_ns: int,
    usual_ns: int,
) -> bool:
    """True if a decision with `left_ns` of its slice left also holds for the next turn."""
    return (
        left_ns >= SLICE_FLOOR_NS
        and (not woke_up or (lasts_asleep and _signed(lasts_until_ns - now_ns) > 0))
        and slice_at_weight_100(left_ns, weight) <= usual_ns
    )


def vtime_within(vtime_ns: int, now_ns: int) -> int:
    """The key, brought near `now_ns`, the highest that has run; if that is 0, any key is taken."""
    if not now_ns and vtime_ns < VTIME_FIRST_MAX_NS:
        return vtime_ns
    ahead_ns = _signed(vtime_ns - now_ns)
    return now_ns + min(max(ahead_ns, -VTIME_WINDOW_NS), VTIME_WINDOW_NS)


def vtime_after(last_ns: int, used_ns: int, weight: int, longest_ns: int) -> int:
    """A task's last key plus the CPU time it used: at most one longest slice, by weight."""
    return last_ns + min(used_ns, longest_ns) * 100 // (weight or 1)


def is_due_later(running_vtime_ns: int, ran_ns: int, vtime_ns: int, margin_ns: int) -> bool:
    """True if the running task is due later by more than the margin; it has run for `ran_ns`."""
    return _signed(running_vtime_ns + ran_ns - vtime_ns) > _signed(margin_ns)
