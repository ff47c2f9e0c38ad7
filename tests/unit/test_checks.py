# SPDX-License-Identifier: GPL-2.0-only
"""pyland names what the machine or the process lacks, and waits for what is about to end."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pyland.errors import UsageError
from pyland.host import affinity, checks, limits, problems, rights
from pyland.supervisor import control

ALL = (1 << 41) - 1


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The kernel's file that says whether a scheduler is loaded: one is, and stays."""
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/ops").write_text("lavd\n")
    state = tmp_path / "state"
    state.write_text("enabled\n")
    return state


def test_a_scheduler_that_stays_is_named(state: Path) -> None:
    with pytest.raises(UsageError, match=r"another scheduler is loaded: lavd \(enabled\)"):
        checks.check_no_scheduler()
    state.write_text("disabled\n")
    checks.check_no_scheduler()


def test_a_scheduler_on_its_way_out_is_waited_for(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAY_BE_ENDING_S", 1)
    monkeypatch.setattr(checks, "ENDS_WITHIN_S", 5)

    def end() -> None:
        for text in ("enabled", "disabling", "disabled"):
            time.sleep(0.2)
            (state.parent / "next").write_text(f"{text}\n")
            (state.parent / "next").replace(state)  # never seen half written

    ending = threading.Thread(target=end)
    ending.start()
    checks.check_no_scheduler()
    assert state.read_text() == "disabled\n"
    ending.join()
    monkeypatch.setattr(checks, "ENDS_WITHIN_S", 0.2)
    state.write_text("disabling\n")
    with pytest.raises(UsageError, match=r"lavd \(disabling\)"):
        checks.check_no_scheduler()


def test_a_pyland_that_lets_go_of_its_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run/c.sock"
    path.parent.mkdir(mode=0o755)
    holds = (
        "import fcntl, sys, time; lock = open(sys.argv[1], 'w'); fcntl.lockf(lock, fcntl.LOCK_EX);"
        "print(flush=True); time.sleep(float(sys.argv[2]))"
    )
    for seconds, taken in (("0.5", True), ("60", False)):
        with subprocess.Popen(
            [sys.executable, "-c", holds, path.with_suffix(".lock"), seconds],
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            try:
                if taken:
                    control.ControlServer(owner=os.getuid(), path=path).close()
                    continue
                with pytest.raises(UsageError, match="another pyland runs here"):
                    control.ControlServer(owner=os.getuid(), path=path)
            finally:
                other.kill()


def proc(folder: Path, *, has: int = ALL, uid_map: str = "0 0 4294967295") -> Path:
    (folder / "self").mkdir(exist_ok=True)
    (folder / "self/status").write_text(f"Name:\tx\nCapEff:\t{has:016x}\n")
    (folder / "self/uid_map").write_text(f"         {uid_map}\n")
    return folder


def test_rights_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match=rf"{tmp_path} is not mounted: run `mount -t proc"):
        rights.check_rights(tmp_path)
    rights.check_rights(proc(tmp_path))
    rights.check_rights(proc(tmp_path, has=ALL & ~(1 << 21)))
    rights.check_rights(proc(tmp_path, has=ALL & ~(1 << 38 | 1 << 39)))
    with pytest.raises(UsageError) as refused:
        rights.check_rights(proc(tmp_path, has=ALL & ~(1 << 21 | 1 << 38 | 1 << 39)))
    assert str(refused.value) == (
        "this root lacks CAP_BPF, CAP_PERFMON: give a container --cap-add BPF --cap-add PERFMON, "
        "a service all in its CapabilityBoundingSet="
    )
    with pytest.raises(UsageError, match="this root lacks CAP_KILL: "):
        rights.check_rights(proc(tmp_path, has=ALL & ~(1 << 5)))
    with pytest.raises(UsageError, match="root of a user namespace"):
        rights.check_rights(proc(tmp_path, uid_map="0 1000 1"))
    (tmp_path / "self/uid_map").unlink()  # a kernel without user namespaces
    rights.check_rights(tmp_path)


def run_limited(
    *limits: tuple[str, int, int], root: bool = True
) -> subprocess.CompletedProcess[str]:
    """`check_limits` in a process of its own, that has these limits."""
    code = "import resource\n"
    for name, soft, hard in limits:
        code += f"resource.setrlimit(resource.RLIMIT_{name}, ({soft}, {hard}))\n"
    code += "from pyland.host import limits\n"
    code += f"limits.capabilities = lambda: {ALL if root else 0}\n"
    code += "limits.check_limits()\nprint(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (("NOFILE", 12, 12), "12 open files are allowed (ulimit -n): pyland needs 256"),
        (("AS", 200_000 << 10, 200_000 << 10), "address space is limited to 195 MiB (ulimit -v)"),
        (("DATA", 100 << 20, 100 << 20), "data is limited to 100 MiB (ulimit -d)"),
        (("FSIZE", 0, 0), "files are limited to 0 KiB (ulimit -f)"),
        (("CPU", 60, 60), "CPU time is limited to 60 s (ulimit -t)"),
    ],
)
def test_a_limit_that_would_break_a_promise_is_named(
    limit: tuple[str, int, int], words: str
) -> None:
    done = run_limited(limit)
    assert f"UsageError: {words}" in done.stderr


def test_locked_memory_may_be_limited_where_pyland_can_raise_it() -> None:
    limit = ("MEMLOCK", 1 << 20, 1 << 20)
    assert run_limited(limit).returncode == 0
    told = run_limited(limit, root=False).stderr
    assert "locked memory is limited to 1024 KiB (ulimit -l), and without CAP_SYS_RESOURCE" in told


def test_a_soft_limit_is_raised() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert run_limited(("NOFILE", 40, hard)).stdout == f"({limits.OPEN_FILES}, {hard})\n"


def test_processes_that_cannot_be_started_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    started: list[int] = []

    def fork_twice() -> int:
        if len(started) == 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(pid := fork())
        return pid

    monkeypatch.setattr(limits, "capabilities", lambda: ALL)
    limits.check_limits()
    monkeypatch.setattr(os, "fork", fork_twice)
    with pytest.raises(UsageError, match=r"^2 of the 5 processes .*ulimit -u, or pids\.max"):
        limits.check_limits()


def test_a_cgroup_without_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "meminfo").write_text("MemAvailable:    1024 kB\n")
    group = tmp_path / "a"
    group.mkdir()
    (group / "memory.current").write_text(f"{30 << 20}\n")
    (group / "memory.stat").write_text(f"anon 5\nfile {7 << 20}\nshmem {2 << 20}\n")
    (group / "memory.max").write_text(f"{40 << 20}\n")
    (group / "memory.high").write_text("max\n")
    assert list(limits.room(tmp_path, tmp_path)) == [
        ("the machine", 1 << 20),
        ("memory.max of the cgroup /a", 15 << 20),
    ]


def test_a_kernel_that_no_scheduler_can_be_loaded_on_is_explained() -> None:
    libbpf = "libbpf: extern 'scx_bpf_kick_cpu': func_proto [7] incompatible with vmlinux [9]"
    assert "BTF was made by pahole 1.31 or later" in problems.load_problem(libbpf)
    assert problems.load_problem("no memory").startswith("no memory (--verbose")


def test_what_the_kernel_refuses_has_a_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_JIT", "_ISOLATED", "_LOCKDOWN", "_COMMAND_LINE"):
        monkeypatch.setattr(problems, name, tmp_path / name)
    jit = "the kernel rejected the BPF object: Unknown error 524: libbpf: prog 'x': failed"
    assert "sysctl net.core.bpf_jit_enable=1" in problems.load_problem(jit)
    (tmp_path / "_JIT").write_text("1\n")
    assert problems.load_problem(jit).startswith(jit)
    invalid = f"attaching the scheduler: {os.strerror(errno.EINVAL)}"
    assert problems.attach_problem(invalid) == invalid
    (tmp_path / "_ISOLATED").write_text("2-3\n")
    (tmp_path / "_COMMAND_LINE").write_text("quiet isolcpus=2-3 nohz_full=2-3\n")
    assert "CPUs are isolated (2-3): boot it without isolcpus=" in problems.attach_problem(invalid)
    (tmp_path / "_COMMAND_LINE").write_text("quiet\n")
    assert "isolated partition of a cpuset" in problems.attach_problem(invalid)
    denied = f"attaching the scheduler: {os.strerror(errno.EPERM)}"
    assert "a security module" in problems.attach_problem(denied)
    assert "a security module" in problems.load_problem(denied)
    (tmp_path / "_LOCKDOWN").write_text("none [integrity] confidentiality\n")
    assert problems.load_problem("no memory").startswith("no memory")
    (tmp_path / "_LOCKDOWN").write_text("none integrity [confidentiality]\n")
    assert "it takes lockdown=integrity or none; no memory" in problems.load_problem("no memory")
    assert "another scheduler" in problems.attach_problem(os.strerror(errno.EBUSY))


def test_its_own_affinity_is_widened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        affinity.widen()
        assert os.sched_getaffinity(0) == before
        monkeypatch.setattr(affinity, "_CPUS", tmp_path)
        (tmp_path / "possible").write_text(f"{','.join(map(str, before))}\n")
        (tmp_path / "nohz_full").write_text(f"{max(before)}\n")
        os.sched_setaffinity(0, {min(before)})
        affinity.widen()
        assert os.sched_getaffinity(0) == before - {max(before)} | {min(before)}
    finally:
        os.sched_setaffinity(0, before)


def test_cpus_that_cannot_be_had_are_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affinity, "_CPUS", tmp_path)
    monkeypatch.setattr(affinity, "_CGROUPS", tmp_path)
    own = os.sched_getaffinity(0)
    (tmp_path / "online").write_text(f"{','.join(map(str, own))}\n")
    (tmp_path / "nohz_full").write_text("(null)\n")
    confinement = affinity.Confinement(os.getpid())
    assert confinement.news() == ""
    (tmp_path / "online").write_text(f"{','.join(map(str, [*own, 4000]))}\n")
    assert confinement.news().startswith(
        f"the process that decides may use {len(own)} of {len(own) + 1} CPUs, as the cpuset"
    )
    assert confinement.news() == ""
    (tmp_path / "nohz_full").write_text("4000\n")
    assert confinement.news() == ""
    (tmp_path / "nohz_full").write_text("\n")
    (tmp_path / "cpuset.cpus.isolated").write_text("4000\n")
    assert confinement.news() == ""
    (tmp_path / "cpuset.cpus.isolated").write_text("\n")
    assert confinement.news() != ""
