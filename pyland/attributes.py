# SPDX-License-Identifier: GPL-2.0-only
"""What a policy says of itself beside its fields and options, and whether that can be right."""

from __future__ import annotations

from numbers import Integral
from typing import Literal, get_args

Interim = Literal["hold", "vtime", "arrival"]
"""How a task is ordered until its decision comes; see `Policy.interim`."""

_LONGEST_NS = (1 << 63) - 1
_NUMBERS = (
    ("margin_ns", 0, _LONGEST_NS),
    ("lasts_ns", 0, _LONGEST_NS),
    ("lasts_slices", 1, 1000),
    ("interval_ns", 0, _LONGEST_NS),
)


def check_attributes(name: str, policy: object) -> None:
    """Raise ValueError for a value that no policy can have; `name` is the policy's."""
    interim = getattr(policy, "interim", None)
    if interim not in get_args(Interim):
        known = ", ".join(get_args(Interim))
        raise ValueError(f"{name}: interim is {interim!r}; there are {known}")
    for attribute, least, most in _NUMBERS:
        value = getattr(policy, attribute)
        if not isinstance(value, Integral) or not least <= int(value) <= most:
            what = f"not a whole number from {least} to {most}"
            raise ValueError(f"{name}: {attribute} is {value!r}, {what}")
