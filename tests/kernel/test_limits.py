# SPDX-License-Identifier: GPL-2.0-only
"""pyland under a debugger, a freezer or limits: it continues, or says why it cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kernel.harness import GAP_S, Record, Start, Unchanged, ended_well, undisturbed
from tools.load import scheduler as system
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND, Scheduler, kernel_state, until

CGROUPS = Path("/sys/fs/cgroup")
ALL_CPUS = set(range(os.cpu_count() or 1))

# Longer than pyland lets a policy run that does not return.
HELD_S = 8.0

pytestmark = pytest.mark.skipif(
    not (CGROUPS / "cgroup.procs").exists(), reason="cgroup v2 is not mounted"
)


@contextlib.contextmanager
def cgroup(name: str, controller: str = "", **values: str) -> Iterator[Path]:
    """A cgroup with these values, such as `memory_max`; its tasks leave it at the end."""
    if controller:
        (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
    group = CGROUPS / f"pyland-test-{name}"
    group.mkdir(exist_ok=True)
    try:
        for key, value in values.items():
            (group / key.replace("_", ".", 1)).write_text(value)
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (CGROUPS / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[str]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield "stopped by a signal (SIGCONT lets it go on)"
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def debugged(pid: int) -> Iterator[str]:
    """Seize and interrupt a process; it continues when the debugger is gone."""
    calls = "import ctypes, time; ptrace = ctypes.CDLL(None).ptrace"
    attaches = f"assert ptrace(0x4206, {pid}, 0, 0) == 0; assert ptrace(0x4207, {pid}, 0, 0) == 0"
    waits = "print(flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{calls}; {attaches}; {waits}"], stdout=subprocess.PIPE
    ) as tracer:
        assert tracer.stdout is not None
        tracer.stdout.readline()
        try:
            yield f"held by a debugger (process {tracer.pid})"
        finally:
            tracer.kill()


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[str]:
    with cgroup("frozen") as group:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "cgroup.freeze").write_text("1")
        try:
            yield "frozen by its cgroup"
        finally:
            (group / "cgroup.freeze").write_text("0")


@contextlib.contextmanager
def frozen_by_v1(pid: int) -> Iterator[str]:
    """Freeze a process uninterruptibly: not even SIGKILL ends it."""
    mounted = Path("/run/pyland-test-freezer")
    mounted.mkdir(exist_ok=True)
    mount = ["mount", "-t", "cgroup", "-o", "freezer", "none", str(mounted)]
    if not os.path.ismount(mounted) and subprocess.run(mount, check=False).returncode:
        pytest.skip("this kernel has no freezer of cgroup v1")
    group = mounted / "frozen"
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text(str(pid))
    (group / "freezer.state").write_text("FROZEN")
    try:
        yield "frozen by its cgroup"
    finally:
        (group / "freezer.state").write_text("THAWED")


HOLDERS: tuple[Callable[[int], contextlib.AbstractContextManager[str]], ...] = (
    stopped, debugged, frozen, frozen_by_v1,
)  # fmt: skip


def until_python_decides(scheduler: Scheduler) -> float | None:
    """Seconds until a new row of statistics fulfils the condition."""
    seen = len(scheduler.rows()) + 1
    return until(lambda: any(row["python"] for row in scheduler.rows()[seen:]), 20)


def test_a_held_worker_is_waited_for_and_decides_again(start: Start, record: Record) -> None:
    scheduler = start("--stats", "1")
    with undisturbed(scheduler), Hogs(600, [0] * 4) as hogs:
        for hold in HOLDERS:
            with hold(scheduler.worker_pid) as holder:
                told = f"pyland: the process that decides is {holder}: tasks are scheduled without"
                before = scheduler.output.count(told)
                time.sleep(HELD_S)
            assert scheduler.output.count(told) == before + 1, hold.__name__
            decides_s = until_python_decides(scheduler)
            record(**{f"decides_after_{hold.__name__}_s": decides_s})
            assert decides_s is not None, f"{hold.__name__}: Python decides nothing afterwards"
        shares = hogs.shares(early=True)
    ended_well(scheduler.end())
    record(gap_s=shares.longest_gap_s)
    assert shares.longest_gap_s < GAP_S


def test_a_worker_that_cannot_be_killed_does_not_keep_the_machine(start: Start) -> None:
    unchanged = Unchanged()
    scheduler = start()
    with frozen_by_v1(scheduler.worker_pid):
        end = scheduler.end()
        assert kernel_state() == "disabled"
        assert unchanged
    assert end.status == 0
    assert end.totals.reason == "stopped by a signal"


def refusal(command: str) -> str:
    """The message of a pyland that does not start; asserts that nothing has changed."""
    unchanged = Unchanged()
    done = subprocess.run(
        ["bash", "-c", command.replace("PYLAND", str(PYLAND))],
        capture_output=True, text=True, check=False, timeout=system.START_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("pyland: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert kernel_state() == "disabled"
    assert unchanged
    return done.stderr


REFUSED = [
    ("ulimit -n 12; PYLAND", "12 open files are allowed (ulimit -n)"),
    ("ulimit -v 200000; PYLAND", "address space is limited to 195 MiB (ulimit -v)"),
    ("ulimit -d 100000; PYLAND", "data is limited to 97 MiB (ulimit -d)"),
    ("ulimit -f 0; PYLAND", "files are limited to 0 KiB (ulimit -f)"),
    ("ulimit -t 60; PYLAND", "CPU time is limited to 60 s (ulimit -t)"),
    ("ulimit -l 64; setpriv --bounding-set -sys_resource PYLAND",
     "locked memory is limited to 64 KiB (ulimit -l), and without CAP_SYS_RESOURCE"),
    ("setpriv --bounding-set -bpf,-perfmon,-sys_admin PYLAND",
     "this root lacks CAP_BPF, CAP_PERFMON: give a container"),
    ("setpriv --reuid 61000 --clear-groups PYLAND", "needs root: run it with sudo"),
    ("unshare -Ur PYLAND", "root of a user namespace"),
    ("unshare -m bash -c 'umount -l /proc; exec PYLAND'", "/proc is not mounted"),
    ("unshare -m bash -c 'mount -t tmpfs none /sys; exec PYLAND'", "/sys is not mounted"),
    ("SUDO_UID=-1 SUDO_GID=0 PYLAND", "SUDO_UID is '-1': it takes a number"),
    ("SUDO_UID=1 SUDO_GID=1 DOAS_USER=nobody PYLAND", "the calling user is not clear"),
]  # fmt: skip


def test_a_promise_that_cannot_be_kept_is_one_line_before_anything_changes() -> None:
    # At the same time, because each takes some seconds to start under emulation.
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(refusal, [command for command, _ in REFUSED]))
    wrong = [pair for pair in zip(told, REFUSED, strict=True) if pair[1][1] not in pair[0]]
    assert not wrong


def test_a_small_cgroup_is_one_line(record: Record) -> None:
    with cgroup("small", "memory", memory_max="40M") as group:
        told = refusal(f"echo $$ > {group}/cgroup.procs; exec PYLAND")
        assert "memory.max of the cgroup /pyland-test-small leaves" in told
    with cgroup("few", "pids", pids_max="2") as group:
        told = refusal(f"echo $$ > {group}/cgroup.procs; exec PYLAND")
        assert "1 of the 5 processes that pyland needs can be started" in told


def test_a_kernel_without_bpfs_compiler_is_one_line() -> None:
    jit = Path("/proc/sys/net/core/bpf_jit_enable")
    jit.write_text("0")
    try:
        assert "sysctl net.core.bpf_jit_enable=1" in refusal("PYLAND")
    finally:
        jit.write_text("1")


@contextlib.contextmanager
def started(command: str) -> Iterator[Scheduler]:
    """Start pyland by a shell that executes it."""
    with Scheduler(program=("bash", "-c", command.replace("PYLAND", str(PYLAND)))) as scheduler:
        yield scheduler


def test_what_leaves_room_works(record: Record) -> None:
    """All limits at once that pyland can work with, from a folder that was removed."""
    limits = "ulimit -Sn 12; ulimit -v 600000; ulimit -d 560000; ulimit -l 560000"
    rights = "setpriv --bounding-set -sys_resource,-sys_admin,-ipc_lock,-sys_nice,-sys_ptrace"
    with (
        cgroup("room", "memory", memory_max="300M") as group,
        started(
            f"{limits}; echo $$ > {group}/cgroup.procs; cd $(mktemp -d); rmdir $PWD;"
            f"exec {rights} taskset -c 0 PYLAND --stats 1"
        ) as scheduler,
        Hogs(600, [0] * 4),
    ):
        record(peak_mib=int((group / "memory.peak").read_text()) >> 20)
        assert scheduler.memory_kib()["VmLck"] > 32 << 10
        assert os.sched_getaffinity(scheduler.worker_pid) == ALL_CPUS
        assert until_python_decides(scheduler) is not None
        assert "may use" not in scheduler.output
        ended_well(scheduler.end())


def test_in_a_pid_namespace_it_decides(record: Record) -> None:
    with started("exec unshare -pf --mount-proc PYLAND --stats 1") as scheduler, Hogs(600, [0] * 4):
        assert until_python_decides(scheduler) is not None
        os.killpg(scheduler.pid, signal.SIGINT)
        scheduler.wait()
        totals = system.parse_totals(scheduler.output)
    assert totals.reason == "stopped by a signal"
    assert totals.user_share > 0.5, f"{totals.counts}"


@pytest.mark.skipif(len(ALL_CPUS) < 2, reason="one CPU cannot be confined")
def test_confined_by_a_cpuset_it_says_so_each_time() -> None:
    told = f"pyland: the process that decides may use 1 of {len(ALL_CPUS)} CPUs, as the cpuset"
    with (
        cgroup("narrow", "cpuset", cpuset_cpus="0") as group,
        started(f"echo $$ > {group}/cgroup.procs; exec PYLAND") as scheduler,
    ):
        assert until(lambda: told in scheduler.output, 20) is not None
        (group / "cpuset.cpus").write_text(f"0-{max(ALL_CPUS)}")
        # The kernel restores the affinity that it asked for.
        assert until(lambda: os.sched_getaffinity(scheduler.worker_pid) == ALL_CPUS, 5) is not None
        time.sleep(3)
        assert scheduler.output.count(told) == 1
        (group / "cpuset.cpus").write_text("0")
        assert until(lambda: scheduler.output.count(told) == 2, 20) is not None
        ended_well(scheduler.end())


def test_a_start_waits_for_one_that_ends_and_not_for_one_that_stays(start: Start) -> None:
    first = start()
    done = subprocess.run([PYLAND], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "another scheduler is loaded: pyland" in done.stderr
    with Hogs(600, [0] * 16):
        os.kill(first.pid, signal.SIGINT)
        second = start()
        with undisturbed(second):
            assert first.wait() == 0
            time.sleep(1)
        ended_well(second.end())
