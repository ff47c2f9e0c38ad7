# SPDX-License-Identifier: GPL-2.0-only
"""The records of bpf/records_intf.h as struct formats.

Nothing about the layout is written down a second time: names, offsets and sizes are
those that the C compiler used for the shim.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pyland._native import ffi

if TYPE_CHECKING:
    from numpy import dtype, ndarray

_CODES = {
    "int": "i",
    "unsigned int": "I",
    "long long": "q",
    "unsigned long long": "Q",
    "char[16]": "16s",
}
_NUMPY = {"i": "i4", "I": "u4", "q": "i8", "Q": "u8", "16s": "S16"}


def _members(c_struct: str) -> Iterator[tuple[str, Any]]:
    return iter(ffi.typeof(f"struct {c_struct}").fields)


def record_format(c_struct: str, fields: Iterable[str], size: int | None = None) -> str:
    """The format that unpacks `fields` out of one `struct c_struct`, in that order.

    The order must be the struct's own; everything between is skipped in C. With `size`
    the record is only the first so many bytes of the struct. Raises ValueError for an
    unknown field, or one that is out of order or beyond the size.
    """
    offsets = dict(_members(c_struct))
    position, text = 0, "="
    for name in fields:
        if name not in offsets or offsets[name].type.cname not in _CODES:
            known = ", ".join(n for n, m in offsets.items() if m.type.cname in _CODES)
            raise ValueError(f"{c_struct} has no field {name!r}; it has: {known}")
        gap = offsets[name].offset - position
        if gap < 0:
            raise ValueError(f"{name!r} comes earlier in {c_struct} than the fields before it")
        code = _CODES[offsets[name].type.cname]
        text += (f"{gap}x" if gap else "") + code
        position = offsets[name].offset + struct.calcsize("=" + code)
    end = (size or ffi.sizeof(f"struct {c_struct}")) - position
    if end < 0:
        raise ValueError(f"a {c_struct} of {size} bytes does not have all of {tuple(fields)}")
    return text + (f"{end}x" if end else "")


def places(c_struct: str, fields: Iterable[str]) -> tuple[tuple[int, str], ...]:
    """Where each field is in `struct c_struct`, and its kind as `struct` writes it."""
    members = dict(_members(c_struct))
    return tuple((members[n].offset, _CODES[members[n].type.cname][-1]) for n in fields)


def numbers(c_struct: str) -> dict[str, int]:
    """The offset of every plain 64-bit number in `struct c_struct`, by name."""
    wide = ("long long", "unsigned long long")
    return {name: member.offset for name, member in _members(c_struct) if member.type.cname in wide}


def _dtype(c_struct: str, names: Iterable[str], size: int) -> dtype[Any]:
    import numpy as np

    members = {name: member for name, member in _members(c_struct) if name in names}
    return np.dtype(
        {
            "names": list(members),
            "formats": [_NUMPY[_CODES[m.type.cname]] for m in members.values()],
            "offsets": [m.offset for m in members.values()],
            "itemsize": size,
        }
    )


def record_array(c_struct: str, memory: memoryview, size: int) -> ndarray[Any, Any]:
    """Records of `size` bytes as a structured array that shares their memory, read-only."""
    import numpy as np

    names = {name for name, member in _members(c_struct) if member.offset < size}
    array = np.frombuffer(memory, _dtype(c_struct, names - {"pad"}, size))
    array.flags.writeable = False
    return array
