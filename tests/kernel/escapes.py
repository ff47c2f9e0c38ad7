# SPDX-License-Identifier: GPL-2.0-only
"""Policies that try to escape: `pyland --policy tests/kernel/escapes.py:Tries`.

`Tries` writes a line with the result of each attempt to the file that its option names.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from pyland import option
from pyland.policies.deadline import Deadline
from pyland.policy import Batch

libc = ctypes.CDLL(None, use_errno=True)

# Numbers of system calls, x86-64.
CALLS = {
    "ptrace": (101, 16, os.getppid(), 0, 0),
    "process_vm_readv": (310, os.getppid(), 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, 1),
    "io_uring_setup": (425, 1, 0),
    "unshare a user namespace": (272, 0x10000000),
    "setns": (308, 0, 0),
    "keyctl": (250, 0, -3, 0),
    "request_key": (249, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "pidfd_getfd": (438, 0, 0, 0),
    "clone": (56, 17, 0, 0, 0, 0),
    "vfork": (58,),
    "x32 getpid": (0x40000000 + 39,),
    "clear PDEATHSIG": (157, 1, 0, 0, 0, 0),
    "setsid": (112,),
    "capset": (126, 0, 0),
    "let others trace it": (157, 4, 1, 0, 0, 0),
    "name a tracer": (157, 0x59616D61, -1, 0, 0, 0),
    "clone a user namespace": (56, 0x10000000, 0, 0, 0, 0),
    "personality": (135, 0x0040000),
    "kcmp": (312, os.getppid(), os.getppid(), 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0),
}


def _call(numbers: tuple[int, ...]) -> None:
    if libc.syscall(*map(ctypes.c_long, numbers)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _write(path: str) -> None:
    with open(path, "wb"):
        pass


def _ask_control() -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("/run/pyland/control.sock")


def _type(fd: int) -> int:
    with socket.socket(fileno=os.dup(fd)) as one:
        return one.type


def _inherited() -> None:
    """Descriptors other than the standard streams, the pipe behind them, and the channel."""
    found = []
    for fd in range(3, 256):
        try:
            mode = os.fstat(fd).st_mode >> 12
        except OSError:
            continue
        is_channel = mode == 0o14 and _type(fd) == socket.SOCK_SEQPACKET
        if not is_channel and mode != 0o01:
            found.append(fd)
    if not found:
        raise OSError("none")


def _root_memory() -> None:
    """Writable maps other than two rings, the user memory, and settings of CPUs and domains."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    if sum("bpf-map" in one and " rw" in one for one in maps) <= 5:
        raise OSError("none")


def _terminal() -> None:
    fd = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(fd, 0x5412, b"i")


ATTEMPTS: dict[str, Callable[[], object]] = {
    **{name: lambda numbers=numbers: _call(numbers) for name, numbers in CALLS.items()},  # type: ignore[misc]
    "setuid": lambda: os.setuid(0),
    "seteuid": lambda: os.seteuid(0),
    "setresuid": lambda: os.setresuid(0, 0, 0),
    "setgid": lambda: os.setgid(0),
    "setgroups": lambda: os.setgroups([0]),
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "subprocess": lambda: subprocess.run(["id"], check=True),
    "sudo": lambda: subprocess.run(["/usr/bin/sudo", "-n", "id"], check=True),
    "kill the supervisor": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "the supervisor's memory": lambda: _read(f"/proc/{os.getppid()}/mem"),
    "the supervisor's descriptors": lambda: os.listdir(f"/proc/{os.getppid()}/fd"),
    "shadow": lambda: _read("/etc/shadow"),
    "a file of root's": lambda: _write("/run/pyland/planted"),
    "the control socket": _ask_control,
    "sysctl": lambda: _write("/proc/sys/vm/compact_unevictable_allowed"),
    "a real-time class": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    "a better nice value": lambda: os.nice(-5),
    "more memory": lambda: resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)),
    "inherited descriptors": _inherited,
    "root's part of the shared memory": _root_memory,
    "type into the terminal": _terminal,
    "chroot": lambda: os.chroot("/tmp"),
}


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except BaseException as error:  # noqa: BLE001 - how it is refused does not matter
        return f"refused ({type(error).__name__}: {error})"
    return "WORKED"


class Tries(Deadline):
    """Tries each way out once, in its first batch and in a thread."""

    report: str = option("", "the file to write to")
    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        # Once after the warm-up, which has the same machine, when pyland schedules.
        if self.calls == 300:
            self._try_all("")
            thread = threading.Thread(target=self._try_all, args=("in a thread: ",))
            thread.start()
        return super().decide(batch)

    def _try_all(self, where: str) -> None:
        lines = [f"{where}{name}: {_outcome(attempt)}\n" for name, attempt in ATTEMPTS.items()]
        with open(self.report, "a") as file:
            file.writelines(lines)
