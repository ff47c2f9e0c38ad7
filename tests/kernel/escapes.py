# SPDX-License-Identifier: GPL-2.0-only
"""Policies that try to escape: `pyland --policy tests/kernel/escapes.py:Tries`.

`Tries` writes a line with the result of each attempt to the file that its option names.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import random
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from pyland import option
from pyland._native import ffi
from pyland.policies.deadline import Deadline
from pyland.policy import Batch

libc = ctypes.CDLL(None, use_errno=True)
EXITED = ffi.offsetof("struct pyland_user", "exited")

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


def _areas() -> list[int]:
    """Where the memory begins that BPF and this process share, but for the rings."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, *_, name = line.split()
        begin, end = (int(one, 16) for one in span.split("-"))
        if "bpf-map" in name and mode.startswith("rw") and end - begin <= 4096:
            found.append(begin)
    return found


class Scribbles(Deadline):
    """Writes random numbers over the memory that it shares with BPF.

    Of the rings that is only the position up to which it has read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(1)
        self.calls = 0
        self.areas = _areas()

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls > 300:
            for begin in self.areas:
                at = begin + 8 * self.random.randrange(16)
                value = self.random.choice((0, 1, 2**32 - 1, 2**63, 2**64 - 1))
                # exited and ring_broken would only end the loop.
                if at != begin + EXITED:
                    ctypes.c_uint64.from_address(at).value = value
        return super().decide(batch)


def _channel_number() -> int:
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            if _type(fd) == socket.SOCK_SEQPACKET:
                return fd
    raise OSError("no channel")


def _channel() -> socket.socket:
    return socket.socket(fileno=os.dup(_channel_number()))


class Lies(Deadline):
    """Sends lies, and bytes that are no message, to the supervisor."""

    lie: str = option("", "one message, sent once; without it, much nonsense")
    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls > 300:
            channel = _channel()
            # The worker's end has the same flags.
            channel.setblocking(False)
            for text in [self.lie] if self.lie else NONSENSE:
                try:
                    channel.send(text.encode())
                except OSError:
                    break
        return super().decide(batch)


class Floods(Deadline):
    """Sends lies from a thread, which goes on when another policy schedules."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 300:
            threading.Thread(target=self._flood, daemon=True).start()
        return super().decide(batch)

    def _flood(self) -> None:
        channel = _channel()
        while True:
            for text in NONSENSE:
                with contextlib.suppress(OSError):
                    channel.send(text.encode(), socket.MSG_DONTWAIT)


class Deaf(Deadline):
    """Puts another socket in the place of the channel, so that no order arrives."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 300:
            number = _channel_number()
            # The supervisor's end must not see that this end is closed.
            self.kept = os.dup(number)
            self.ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.dup2(self.ends[0].fileno(), number)
        return super().decide(batch)


SWAPPED = {"kind": "Swapped", "previous": "a", "policy": "b", "options": {}, "pause_us": 1}
NONSENSE = (
    # When the channel is full, only the first ones find room.
    '{"kind": "Ready", "order": "1", "policy": "a", "options": {}, "confined": false}',
    json.dumps(SWAPPED),
    json.dumps({**SWAPPED, "order": "1"}),
    '{"kind": "SwapRefused", "order": "", "error": "\\u001b]0;x\\u0007"}',
    "{}",
    "[1]",
    "null",
    "\x00" * 60_000,
    "[" * 50_000,
    '{"kind": "Ready"}',
    '{"kind": "Swapped", "previous": 1, "policy": [], "options": {}, "pause_us": -1}',
    '{"kind": "Failure", "policy": "x\\n", "report": "\\u001b[2J\\npyland: ended: a lie"}',
    '{"kind": "Stopped", "how": "KERNEL"}',
)


class Ends(Deadline):
    """Writes into its memory that the kernel has ended the scheduler."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 300:
            for begin in _areas():
                ctypes.c_uint32.from_address(begin + EXITED).value = 1
        return super().decide(batch)


class Spawns(Deadline):
    """Starts processes that lose their parent, and a process that starts others all the time."""

    calls = 0

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 300:
            # The last two end without a parent of their own.
            orphans = "sleep 1234 & sleep 1234 & sleep 0.1 & sleep 0.2 &"
            subprocess.run(["sh", "-c", orphans], check=True)
            subprocess.Popen(["sh", "-c", "while :; do sleep 1234 & sleep 0.2; done"])
        return super().decide(batch)
