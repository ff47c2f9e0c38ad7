# SPDX-License-Identifier: GPL-2.0-only
"""What must hold for every fault: all tasks get CPU time, and nothing is left in the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.harness import GAP_S, Unchanged, undisturbed
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import Scheduler, kernel_state, until

_RT_RUNTIME = Path("/proc/sys/kernel/sched_rt_runtime_us")
# It ends by itself in case the test never runs again.
_SPINS = ("sh", "-c", "ulimit -t 60; while :; do :; done")

_BPF_GET_NEXT_IDS = {"programs": 11, "maps": 12}
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}


@contextlib.contextmanager
def alive(scheduler: Scheduler, hogs: int = 4, gap_s: float = GAP_S) -> Iterator[Hogs]:
    """Throughout the block pyland schedules, no task waits for longer than `gap_s`, and the
    process that decides takes no page fault. Gives the hogs that run meanwhile.
    """
    with undisturbed(scheduler), Hogs(600, [0] * hogs) as load, Sleeper(600) as sleeper:
        faults = scheduler.page_faults()
        yield load
        faults_after = scheduler.page_faults()
        wakeups, shares = sleeper.wakeups(early=True), load.shares(early=True)
    assert wakeups.periods > 1
    assert wakeups.max_us / 1e6 < gap_s
    assert shares.longest_gap_s < gap_s
    assert all(hog.progress > 0 for hog in shares.hogs)
    assert faults_after == faults, "the process that decides took page faults"


@contextlib.contextmanager
def taken_by_real_time(cpu: int) -> Iterator[None]:
    """A real-time task has a CPU for the whole block, and the kernel lets no other task in."""
    servers = [
        Path(f"/sys/kernel/debug/sched/{name}_server/cpu{cpu}/runtime") for name in ("fair", "ext")
    ]
    before = {path: path.read_text() for path in (_RT_RUNTIME, *servers) if path.exists()}
    with contextlib.ExitStack() as stack:
        for path, value in before.items():
            stack.callback(path.write_text, value)
            path.write_text("-1" if path == _RT_RUNTIME else "0")
        spinner = ("chrt", "-f", "50", "taskset", "-c", str(cpu), *_SPINS)
        spins = stack.enter_context(subprocess.Popen(spinner))
        stack.callback(spins.kill)
        command = Path(f"/proc/{spins.pid}/comm")
        assert until(lambda: command.read_text() == "sh\n", 30) is not None, command.read_text()
        yield


def bpf_objects() -> dict[str, int]:
    """The number of BPF programs and maps in the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for what, command in _BPF_GET_NEXT_IDS.items():
        # start_id, next_id, open_flags
        attributes = (ctypes.c_uint32 * 3)()
        found[what] = 0
        number = _SYS_BPF[os.uname().machine]
        while (
            libc.syscall(number, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0
        ):
            found[what] += 1
            attributes[0] = attributes[1]
    return found


class Before:
    """The machine before pyland starts, for a comparison after its end."""

    def __init__(self) -> None:
        self._settings = Unchanged()
        self._objects = bpf_objects()

    def assert_restored(self) -> None:
        """Assert the default scheduler, the former settings, and no BPF object of pyland."""
        assert until(lambda: kernel_state() == "disabled", 5) is not None, kernel_state()
        assert until(lambda: bool(self._settings), 5) is not None, "a setting is not what it was"
        # The kernel frees them after the last CPU has stopped using them.
        freed = until(
            lambda: all(nr <= self._objects[what] for what, nr in bpf_objects().items()), 10
        )
        assert freed is not None, f"{self._objects} before, {bpf_objects()} after"
