# SPDX-License-Identifier: GPL-2.0-only
"""Tells whether a kernel describes its functions in the form in which BPF programs call them.

From 7.0 on some functions of sched_ext take a last argument, `aux`, that the verifier fills in.
BTF must show them without it, and the full form under the name with `_impl`. A kernel whose BTF
was made by pahole before 1.31 shows some of them in full, other ones in each build, and refuses
every BPF program that calls one of those: no sched_ext scheduler can be loaded there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.build import toolchain

_FUNC = 12
_EXTERN = 2  # the linkage of a function that the object only calls, a kfunc
_SCHED_EXT = ("scx_bpf_", "__scx_bpf_", "bpf_iter_scx_")


class _Type(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint32), ("info", ctypes.c_uint32), ("type", ctypes.c_uint32))


class _Argument(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint32), ("type", ctypes.c_uint32))


def uncallable(kernel: Path) -> list[str]:
    """The sched_ext functions that no BPF program can call; `kernel` is not compressed."""
    return sorted(
        name
        for name, arguments in functions(kernel).items()
        if name.startswith(_SCHED_EXT) and arguments[-1:] == ["aux"] and not name.endswith("_impl")
    )


def functions(path: Path) -> dict[str, list[str]]:
    """The names of the arguments of each function that a kernel or a BPF object contains.

    Empty for a file without BTF.
    """
    lib = _libbpf()
    btf = lib.btf__parse(bytes(path), None)
    if not btf:
        return {}
    try:
        return dict(_walk(lib, btf))
    finally:
        lib.btf__free(btf)


def _walk(lib: ctypes.CDLL, btf: int) -> Iterator[tuple[str, list[str]]]:
    for number in range(1, lib.btf__type_cnt(btf)):
        function = lib.btf__type_by_id(btf, number).contents
        if function.info >> 24 & 0x1F != _FUNC or function.info & 0xFFFF == _EXTERN:
            continue
        prototype = lib.btf__type_by_id(btf, function.type).contents
        arguments = (_Argument * (prototype.info & 0xFFFF)).from_address(
            ctypes.addressof(prototype) + ctypes.sizeof(prototype)
        )
        offsets = (function.name, *(each.name for each in arguments))
        name, *names = (lib.btf__name_by_offset(btf, offset).decode() for offset in offsets)
        yield name, names


@cache
def _libbpf() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(toolchain.find_libbpf().library))
    pointer, number = ctypes.c_void_p, ctypes.c_uint32
    for name, result, arguments in (
        ("btf__parse", pointer, (ctypes.c_char_p, pointer)),
        ("btf__free", None, (pointer,)),
        ("btf__type_cnt", number, (pointer,)),
        ("btf__type_by_id", ctypes.POINTER(_Type), (pointer, number)),
        ("btf__name_by_offset", ctypes.c_char_p, (pointer, number)),
    ):
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    lib.libbpf_set_print(None)
    return lib
