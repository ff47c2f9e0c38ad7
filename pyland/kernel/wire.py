# SPDX-License-Identifier: GPL-2.0-only
"""The records of bpf/intf.h as struct formats.

Nothing about the layout is written down a second time: names, offsets and sizes are
those that the C compiler used for the shim.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from pyland.kernel._native import ffi

_CODES = {
    "int": "i",
    "unsigned int": "I",
    "long long": "q",
    "unsigned long long": "Q",
}


def _members(c_struct: str) -> Iterator[tuple[str, Any]]:
    return iter(ffi.typeof(f"struct {c_struct}").fields)


def record_format(c_struct: str, fields: Iterable[str]) -> str:
    """The format that unpacks `fields` out of one `struct c_struct`, in that order.

    The order must be the struct's own; everything between is skipped in C. Raises
    ValueError for an unknown field, an array, or a field out of order.
    """
    offsets = dict(_members(c_struct))
    position, text = 0, "="
    for name in fields:
        if name not in offsets or offsets[name].type.cname not in _CODES:
            known = ", ".join(n for n, m in offsets.items() if m.type.cname in _CODES)
            raise ValueError(f"{c_struct} has no number {name!r}; it has: {known}")
        gap = offsets[name].offset - position
        if gap < 0:
            raise ValueError(f"{name!r} comes earlier in {c_struct} than the fields before it")
        code = _CODES[offsets[name].type.cname]
        text += (f"{gap}x" if gap else "") + code
        position = offsets[name].offset + struct.calcsize("=" + code)
    end = ffi.sizeof(f"struct {c_struct}") - position
    return text + (f"{end}x" if end else "")


def numbers(c_struct: str) -> dict[str, int]:
    """The offset of every plain 64-bit number in `struct c_struct`, by name."""
    wide = ("long long", "unsigned long long")
    return {name: member.offset for name, member in _members(c_struct) if member.type.cname in wide}
