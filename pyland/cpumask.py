# SPDX-License-Identifier: GPL-2.0-only
"""Sets of CPUs as masks: bit n of an integer is CPU n."""

from __future__ import annotations

from collections.abc import Iterable

CpuSet = int | Iterable[int]
"""CPUs as a mask (bit n is CPU n), or by their numbers."""


def mask_of(cpus: CpuSet) -> int:
    """The mask of a set of CPUs; ValueError for a negative number."""
    mask = int(cpus) if isinstance(cpus, int) else sum({1 << number for number in cpus})
    if mask < 0:
        raise ValueError(f"CPUs {cpus}: a mask is not negative")
    return mask


def cpus_of(mask: int) -> list[int]:
    """The CPUs of a mask, ascending."""
    cpus = []
    while mask:
        lowest = mask & -mask
        cpus.append(lowest.bit_length() - 1)
        mask ^= lowest
    return cpus
