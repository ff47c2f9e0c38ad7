# SPDX-License-Identifier: GPL-2.0-only
"""The cost of a user-space scheduler, measured from outside and in the same way for all of them.

A decision is a record in the user ring buffer through which it reaches BPF. The ring's position
counts the decisions; it lies in memory that the scheduler shares with the kernel. A dispatched task
is a task that was put on a CPU, as the kernel counts it (the last figure of a CPU in
/proc/schedstat), without the scheduler's own processes. One decision may serve several of them. CPU
time is the kernel's account of the process. BPF run time is counted only if
`kernel.bpf_stats_enabled` is set: reading the clock twice costs as much as a BPF program does, so
other measurements leave it off.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.load.scheduler import page_faults

_BPF_STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
_USER_RINGBUF = 31  # BPF_MAP_TYPE_USER_RINGBUF
_PIDFD_GETFD = 438  # the same number on every architecture
_HEADER = 8  # bytes before each sample

SPLIT = {
    "records": "user_dispatched",
    "delay_ns": "delay_ns",
    "scheduler_wait_ns": "wait_user_ns",
    "queue_wait_ns": "wait_cpu_ns",
    "queue_waits": "waited_cpu",
}
"""Parts of the way of a task, and pyland's counter for each."""


@dataclass(frozen=True)
class _Snapshot:
    time_ns: int
    decisions: int
    dispatched: int
    user_ns: int
    others_ns: int
    bpf_ns: int
    bpf_runs: int
    faults: int


class Meter:
    """Reads the cost of a running user-space scheduler."""

    def __init__(self, pid: int, dispatcher: int, decision_bytes: int) -> None:
        """`dispatcher` is the process that decides, of the tree that begins with `pid`."""
        self._dispatcher = dispatcher
        tree = {pid}
        with suppress(psutil.Error):
            tree |= {each.pid for each in psutil.Process(pid).children(recursive=True)}
        self._others = sorted(tree - {dispatcher})
        self._step = _HEADER + (decision_bytes + 7) // 8 * 8
        self._position = _ring_position((dispatcher, *self._others))

    def read(self) -> _Snapshot:
        """The present values of all counters."""
        everyone = (self._dispatcher, *self._others)
        bpf = _bpf_programs(everyone)
        return _Snapshot(
            time_ns=time.monotonic_ns(),
            decisions=struct.unpack_from("=Q", self._position)[0] // self._step,
            dispatched=_dispatched() - sum(_scheduled(pid)[1] for pid in everyone),
            user_ns=_scheduled(self._dispatcher)[0],
            others_ns=sum(_scheduled(pid)[0] for pid in self._others),
            bpf_ns=sum(run_ns for run_ns, _ in bpf.values()),
            bpf_runs=sum(runs for _, runs in bpf.values()),
            faults=page_faults(self._dispatcher),
        )

    def close(self) -> None:
        """Unmap the scheduler's ring."""
        self._position.close()


def between(before: _Snapshot, after: _Snapshot, counted: Mapping[str, int]) -> dict[str, Any]:
    """The cost of what happened between two readings, in the form of `kernel.json`.

    `counted` is the growth of the scheduler's own counters; it is empty if it has none.
    """
    split = None
    if all(name in counted for name in SPLIT.values()):
        split = {part: counted[name] for part, name in SPLIT.items()}
        split["python_ns"] = split.pop("delay_ns") - split["scheduler_wait_ns"]
    return {
        "seconds": (after.time_ns - before.time_ns) / 1e9,
        "decisions": after.decisions - before.decisions,
        "dispatched": after.dispatched - before.dispatched,
        "user_ns": after.user_ns - before.user_ns,
        "others_ns": after.others_ns - before.others_ns,
        "bpf_ns": after.bpf_ns - before.bpf_ns,
        "bpf_runs": after.bpf_runs - before.bpf_runs,
        "page_faults": after.faults - before.faults,
        "cycles": counted.get("cycles"),
        "split": split,
    }


@contextmanager
def bpf_stats() -> Iterator[None]:
    """The kernel counts the run time of BPF programs during the block."""
    before = _BPF_STATS.read_text(encoding="ascii")
    _BPF_STATS.write_text("1", encoding="ascii")
    try:
        yield
    finally:
        _BPF_STATS.write_text(before, encoding="ascii")


def _scheduled(pid: int) -> tuple[int, int]:
    """CPU time of all threads of a process in ns, and how often they were put on a CPU."""
    cpu_ns = times = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            ran_ns, _, turns = (task / "schedstat").read_text(encoding="ascii").split()
            cpu_ns, times = cpu_ns + int(ran_ns), times + int(turns)
    return cpu_ns, times


def _dispatched() -> int:
    """How often a task was put on a CPU, counted from the boot of the machine."""
    lines = Path("/proc/schedstat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("cpu"))


def _descriptors(pid: int) -> Iterator[tuple[int, str]]:
    """Each descriptor of a process, and the text of its fdinfo."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):
            yield int(name), Path(f"/proc/{pid}/fdinfo/{name}").read_text(encoding="utf-8")


def _bpf_programs(pids: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Run time and runs of the BPF programs that the processes have open, by the program's id."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            for _, about in _descriptors(pid):
                numbers = dict(re.findall(r"^(prog_id|run_time_ns|run_cnt):\s+(\d+)$", about, re.M))
                if len(numbers) == 3:
                    found[numbers["prog_id"]] = (
                        int(numbers["run_time_ns"]),
                        int(numbers["run_cnt"]),
                    )
    return found


def _ring_position(pids: Iterable[int]) -> mmap.mmap:
    """The producer's page of the ring of decisions that one of the processes has open, read-only.

    The process that decides may have mapped it and closed it.
    """
    for pid in pids:
        for number, about in _descriptors(pid):
            if re.search(rf"^map_type:\s+{_USER_RINGBUF}$", about, re.M):
                return _position(pid, number)
    raise RuntimeError("no process of the scheduler has a ring of decisions")


def _position(pid: int, number: int) -> mmap.mmap:
    """The producer's page of the ring with this descriptor of a process."""
    pidfd = os.pidfd_open(pid)
    try:
        fd = _libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), f"pidfd_getfd of process {pid}")
    finally:
        os.close(pidfd)
    try:
        return mmap.mmap(fd, mmap.PAGESIZE, offset=mmap.PAGESIZE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)


_libc = ctypes.CDLL(None, use_errno=True)
