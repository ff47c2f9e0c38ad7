# SPDX-License-Identifier: GPL-2.0-only
"""The commands of all processes, read by a child that may be given up.

The kernel reads a command from the memory of its process. That memory may be a file on a disk or a
server that does not answer, and any user can have such a process. The reader then waits, and with
it would wait the trace.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

_STUCK_S = 0.25
"""Seconds without a command after which the child is given up."""
_WITHIN_S = 2.0
_STUCK_MAX = 4
"""After so many processes that let the reader wait, the others have no command."""
_COMMAND_MAX = 64


def read_commands(proc: Path = Path("/proc")) -> dict[int, bytes]:
    """The command of each process, without arguments; a process may be missing."""
    try:
        left = sorted(int(one.name) for one in proc.iterdir() if one.name.isdecimal())
    except OSError:
        return {}
    found: dict[int, bytes] = {}
    until_s = time.monotonic() + _WITHIN_S
    for _ in range(_STUCK_MAX):
        nr_done = _read_some(proc, left, found, until_s)
        # The child is stuck at the process after these, so leave that one out.
        left = left[nr_done + 1 :]
        if not left or time.monotonic() >= until_s:
            break
    return found


def _read_some(proc: Path, pids: list[int], found: dict[int, bytes], until_s: float) -> int:
    """Read commands until one takes too long; how many were read."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
    except OSError:  # too many processes
        os.close(reads)
        os.close(writes)
        return len(pids)
    if child == 0:
        _live(proc, pids, writes)
    os.close(writes)
    nr_done, data = 0, b""
    while nr_done < len(pids):
        within_s = min(_STUCK_S, until_s - time.monotonic())
        if within_s <= 0 or not select.select([reads], [], [], within_s)[0]:
            break
        if not (more := os.read(reads, 1 << 16)):
            break
        *commands, data = (data + more).split(b"\n")
        for command in commands:
            if command:
                found[pids[nr_done]] = command
            nr_done += 1
    os.close(reads)
    os.kill(child, signal.SIGKILL)
    # A child that even this signal does not end is left until this process ends.
    end_s = time.monotonic() + 1
    while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end_s:
        time.sleep(0.001)
    return nr_done


def _live(proc: Path, pids: list[int], writes: int) -> None:
    """The child: a line for each process, empty without a command."""
    try:
        for pid in pids:
            command = b""
            with suppress(OSError):
                file = os.open(proc / str(pid) / "cmdline", os.O_RDONLY | os.O_CLOEXEC)
                command = os.read(file, _COMMAND_MAX).partition(b"\0")[0]
                os.close(file)
            os.write(writes, command.replace(b"\n", b"?") + b"\n")
    finally:
        os._exit(0)
