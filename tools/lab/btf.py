# SPDX-License-Identifier: GPL-2.0-only
"""Does a kernel describe its functions as BPF programs may call them?

From 7.0 on some of sched_ext's functions take a last argument, `aux`, that the verifier fills
in; BTF must show them without it, and the full form under the name with `_impl`. A kernel whose
BTF was made by pahole before 1.31 shows some of them as they are, other ones in each build, and
no BPF program that calls one of those can be loaded: not pyland, and no other scheduler either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEADER = struct.Struct("<HBBIIIII")
_START = struct.pack("<HBBI", 0xEB9F, 1, 0, _HEADER.size)
_TYPE = struct.Struct("<III")
_MEMBER = struct.Struct("<II")
_FUNC, _FUNC_PROTO = 12, 13
_EXTERN = 2  # a function of the kernel's
# Bytes that follow a type, and that follow it for each of its members, by kind (the kernel's
# Documentation/bpf/btf.rst).
_EXTRA = {1: 4, 3: 12, 14: 4, 17: 4}
_EXTRA_EACH = {4: 12, 5: 12, 6: 8, _FUNC_PROTO: 8, 15: 12, 19: 12}
_SCHED_EXT = (b"scx_bpf_", b"__scx_bpf_", b"bpf_iter_scx_")


def uncallable(kernel: bytes) -> list[str]:
    """The sched_ext functions that no BPF program can call; `kernel` is not compressed."""
    types, strings = _find(kernel)
    prototypes: dict[int, bytes] = {}  # the last argument's name
    functions: list[tuple[bytes, int]] = []
    for number, (name, kind, target, _, members) in enumerate(_walk(types), 1):
        if kind == _FUNC_PROTO and members:
            last, _ = _MEMBER.unpack(members[-_MEMBER.size :])
            prototypes[number] = _text(strings, last)
        elif kind == _FUNC and strings.startswith(_SCHED_EXT, name):
            functions.append((_text(strings, name), target))
    return sorted(
        name.decode()
        for name, prototype in functions
        if prototypes.get(prototype) == b"aux" and not name.endswith(b"_impl")
    )


def functions(program: bytes) -> dict[str, int]:
    """The functions that a BPF object has, entries and those that are called: arguments of each."""
    types, strings = _find(program)
    arguments: dict[int, int] = {}
    found: list[tuple[str, int]] = []
    for number, (name, kind, target, linkage, members) in enumerate(_walk(types), 1):
        if kind == _FUNC_PROTO:
            arguments[number] = len(members) // _MEMBER.size
        elif kind == _FUNC and linkage != _EXTERN:
            found.append((_text(strings, name).decode(), target))
    return {name: arguments[target] for name, target in found}


def _find(kernel: bytes) -> tuple[bytes, bytes]:
    """The types and the strings of the largest BTF in it: modules' come after, and are small."""
    largest, at = (b"", b""), kernel.find(_START)
    while at >= 0:
        *_, types, types_len, strings, strings_len = _HEADER.unpack_from(kernel, at)
        base = at + _HEADER.size
        if types_len > len(largest[0]) and base + strings + strings_len <= len(kernel):
            largest = (
                kernel[base + types :][:types_len],
                kernel[base + strings :][:strings_len],
            )
        at = kernel.find(_START, at + 1)
    return largest


def _walk(types: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Name, kind, type, number of members (a function's linkage) and prototype's members of each.

    The first has number 1.
    """
    at = 0
    while at < len(types):
        name, info, target = _TYPE.unpack_from(types, at)
        kind, nr = info >> 24 & 0x1F, info & 0xFFFF
        at += _TYPE.size
        size = _EXTRA.get(kind, 0) + _EXTRA_EACH.get(kind, 0) * nr
        yield name, kind, target, nr, types[at : at + size] if kind == _FUNC_PROTO else b""
        at += size


def _text(strings: bytes, offset: int) -> bytes:
    return strings[offset : strings.index(b"\0", offset)]
