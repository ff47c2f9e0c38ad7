# SPDX-License-Identifier: GPL-2.0-only
"""Policies that attack the processes of root: `pyland --policy tests/kernel/attacks.py:Lies`.

They write over the shared memory, send lies to the supervisor, and leave processes behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import socket
import subprocess
import threading
from pathlib import Path

from pyland import option
from pyland._native import ffi
from pyland.policies.deadline import Deadline
from pyland.policy import Batch

EXITED = ffi.offsetof("struct pyland_user", "exited")


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
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
            if one.type == socket.SOCK_SEQPACKET:
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
