# SPDX-License-Identifier: GPL-2.0-only
"""The process that serves statistics cannot write the scheduler's state, whatever it calls."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal

from pyland._native import ffi, lib

PARTS = ("shared", "user", "cpus", "user_cpus", "histograms", "slots")
STRUCTS = ("shared", "user", "cpu", "user_cpu", "cpu_histograms", "slot")

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _mapped(fd: int, size: int, protection: int) -> int:
    address = libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
    assert address != ctypes.c_void_p(-1).value
    return int(address)


def test_what_was_protected_stays_so() -> None:
    """Files in memory take the place of BPF's maps; both cannot be made writable if only read."""
    state = ffi.new("struct pyland_state *")
    state.nr_cpus = state.nr_slots = 2
    places = []
    for number, (part, struct) in enumerate(zip(PARTS, STRUCTS, strict=True)):
        size = ffi.sizeof(f"struct pyland_{struct}") * 2
        file = os.memfd_create(part)
        os.ftruncate(file, size)
        to_read = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
        address = _mapped(file, size, mmap.PROT_READ | mmap.PROT_WRITE)
        setattr(state, part, ffi.cast("void *", address))
        state.read_only[number] = ffi.cast("void *", _mapped(to_read, size, mmap.PROT_READ))
        places.append((address, size, file))
        ctypes.memset(address, number + 1, 1)
    child = os.fork()
    if child == 0:
        number = 99
        try:
            number = _try(state, places)
        finally:
            os._exit(number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # This process writes as before, and the child reads what it wrote.
    for number, (address, size, file) in enumerate(places):
        assert ctypes.string_at(address, 1) == bytes([number + 1])
        ctypes.memset(address, 77, size)
        os.close(file)


def _try(state: object, places: list[tuple[int, int, int]]) -> int:
    """What an attacker in the child would do; 0 if all of it fails."""
    if lib.pyland_protect_state(state):
        return 1
    for number, (address, size, _) in enumerate(places):
        if ctypes.string_at(address, 1) != bytes([number + 1]):
            return 2
        if libc.mprotect(address, size, mmap.PROT_READ | mmap.PROT_WRITE) == 0:
            return 3
        if ctypes.get_errno() != errno.EACCES:
            return 4
        writer = os.fork()
        if writer == 0:
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            ctypes.memset(address, 9, 1)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) != -signal.SIGSEGV:
            return 5
    return 0
