# SPDX-License-Identifier: GPL-2.0-only
"""The policy's own numbers and its notes about tasks, for a trace.

They come from the statistics server, which is slow while the machine is busy: nothing waits for it
here. Without a server the trace has all the rest.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyland.output.printing import escape
from pyland.stats.monitor import own_values
from pyland.stats.notes import NOTES_MAX, PID_MAX

INTERVAL_S = 0.25
"""Seconds between two questions."""
QUIET_S = 1.0
"""Seconds between two questions if the policy has nothing to show: an answer costs 1 ms."""
_AGAIN_S = 1.0
"""Seconds between two tries to reach a server."""
_SILENT_S = 10.0
"""A server that gives no answer for so long is asked anew."""
_ANSWER_MAX = 1 << 20
_NOTE_MAX = 512


@dataclass(frozen=True, slots=True)
class Noted:
    """A new note."""

    time_ns: int
    """The time of the note, CLOCK_BOOTTIME; not before the last look at notes."""
    pid: int
    text: bytes
    """Printable ASCII; empty if the policy took its note back."""


@dataclass(frozen=True, slots=True)
class Own:
    """The gauges, rates and notes of the policy at one time."""

    time_ns: int
    """CLOCK_BOOTTIME."""
    gauges: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    """The growth of its counters per second."""
    notes: tuple[Noted, ...] = ()


class OwnNumbers:
    """A client of the statistics server that never waits."""

    def __init__(
        self,
        path: Path,
        clock_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        """Nothing is asked before the first `look`."""
        self._path, self._clock_ns = path, clock_ns
        self._socket: socket.socket | None = None
        self._received = b""
        self._asked_ns = self._counted_ns = 0
        self._after, self._policy = 0, ""
        self._looked_ns = clock_ns()
        self._next_ns = 0
        self._quiet = True

    def look(self) -> Own | None:
        """Ask if it is time, and take an answer that has come; None if there is none."""
        now_ns = self._clock_ns()
        if self._socket is None:
            if now_ns >= self._next_ns:
                self._connect(now_ns)
            return None
        if not self._asked_ns:
            if now_ns >= self._next_ns:
                self._ask(now_ns)
            return None
        if not self._receive():
            return None
        if self._received.count(b"\n") < 2:
            if now_ns - self._asked_ns > _SILENT_S * 1e9 or len(self._received) > _ANSWER_MAX:
                self.close()
            return None
        first, second, self._received = self._received.split(b"\n", 2)
        own = self._own(_answer(first), _answer(second), now_ns)
        self._next_ns = self._asked_ns + int((QUIET_S if self._quiet else INTERVAL_S) * 1e9)
        self._asked_ns = 0
        return own

    def close(self) -> None:
        """End the connection; the next `look` begins anew, after a while."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._received = b""
        self._next_ns = self._clock_ns() + int(_AGAIN_S * 1e9)

    def _connect(self, now_ns: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(str(self._path))
        except OSError:
            self.close()
            return
        # Ask for all notes: a new server may have another policy, whose notes begin at 1.
        self._after, self._counted_ns = 0, 0
        self._ask(now_ns)

    def _ask(self, now_ns: int) -> None:
        assert self._socket is not None
        wanted = {"req": "stats", "args": {"target": "notes", "after": str(self._after)}}
        try:
            self._socket.send(b'{"req": "stats"}\n' + json.dumps(wanted).encode() + b"\n")
        except OSError:
            self.close()
            return
        self._asked_ns = now_ns

    def _receive(self) -> bool:
        """Take what has come; False if the connection has ended."""
        assert self._socket is not None
        try:
            while data := self._socket.recv(1 << 16):
                self._received += data
                if len(self._received) > _ANSWER_MAX:
                    break
            else:
                self.close()
                return False
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return False
        return True

    def _own(self, statistics: Any, noted: Any, now_ns: int) -> Own:
        passed_s = (now_ns - self._counted_ns) / 1e9
        counts = own_values(statistics.get("policy_counts"), "policy_count")
        # The first answer of a connection has no earlier one, so it says nothing of growth.
        rates = {name: n / passed_s for name, n in counts.items()} if self._counted_ns else {}
        gauges = own_values(statistics.get("policy_gauges"), "policy_gauge")
        notes = tuple(self._notes(noted.get("notes"), now_ns))
        total, policy = statistics.get("policy_notes"), str(noted.get("policy"))
        self._quiet = not (gauges or counts or total)
        if self._policy not in ("", policy) or (type(total) is int and total < self._after):
            # Another policy has begun to number its notes; the next answer has all of them.
            self._after = 0
        self._policy = policy
        self._counted_ns = self._looked_ns = now_ns
        return Own(now_ns, dict(gauges), rates, notes)

    def _notes(self, found: Any, now_ns: int) -> Iterator[Noted]:
        for one in found[:NOTES_MAX] if isinstance(found, list) else ():
            with suppress(TypeError, KeyError):
                number, pid, time_ns, text = (
                    one[name] for name in ("number", "task", "time_ns", "note")
                )
                if {type(number), type(pid), type(time_ns)} != {int} or type(text) is not str:
                    continue
                if not 0 < pid <= PID_MAX:
                    continue
                self._after = max(self._after, number)
                # The policy can write any time. A note from before the trace begins with the trace.
                at_ns = min(max(time_ns, self._looked_ns), now_ns)
                shown = escape(text).encode("ascii", "backslashreplace")[:_NOTE_MAX]
                yield Noted(at_ns, pid, shown)


def _answer(line: bytes) -> dict[str, Any]:
    """The value of an answer; empty if it has an error, or is not valid."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        found = json.loads(line)["args"]["resp"]
        if isinstance(found, dict):
            return found
    return {}
