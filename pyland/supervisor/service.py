# SPDX-License-Identifier: GPL-2.0-only
"""Tells the service manager of systemd what pyland does (sd_notify(3), without its library).

Only the supervisor tells it anything. A message is one datagram, which is sent without waiting. The
service manager believes the main process of a service alone (NotifyAccess=main), so a policy cannot
keep the watchdog quiet.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Self

from pyland.host import checks
from pyland.host.listener import SOCKET_PATH_MAX
from pyland.output.printing import escape

_ALIVE_PER_LIMIT = 3
"""Messages within the watchdog's time, so that a late one ends nothing."""
_UNSENT_MAX = 1000
"""Characters of messages that wait together: systemd drops a message of more than 4096 bytes."""
_STATUS_MAX = 500


class Service:
    """The service that this process is; without a service manager its methods do nothing."""

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        """`address` is a path, or a name after `@`; with `watchdog_s` 0 there is no watchdog."""
        name = os.fsencode(address)
        if name[:1] not in (b"/", b"@") or not 1 < len(name) <= SOCKET_PATH_MAX:
            name = b""
        self._address = b"\0" + name[1:] if name.startswith(b"@") else name
        self._alive_every_s = watchdog_s / _ALIVE_PER_LIMIT
        self._alive_s = 0.0
        self._unsent = ""

    @classmethod
    def of_this_process(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Take the variables of systemd out of the environment: they are for no child."""
        address = environment.pop("NOTIFY_SOCKET", "")
        limit_us = environment.pop("WATCHDOG_USEC", "")
        # A shell that ran this process by another one's name may have left the variable.
        meant = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = meant and limit_us.isascii() and limit_us.isdecimal()
        return cls(address, int(limit_us) / 1e6 if watched else 0.0)

    def __bool__(self) -> bool:
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Tell that pyland schedules; this also ends a reload."""
        self._send("READY=1", _status(status))

    def loading(self, status: str) -> None:
        """Tell what pyland does before it schedules."""
        self._send(_status(status))

    def reloading(self) -> None:
        """Tell that the policy's files are read again, until `ready` is called."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """Tell that pyland ends, or has ended."""
        self._send("STOPPING=1", _status(status))

    def alive(self, now_s: float, *, attached: bool = True) -> None:
        """Answer the watchdog if that is due.

        While the supervisor's scheduler is attached, only if the kernel says so, too. A restart has
        limits of its own.
        """
        if self._unsent:
            self._send()
        if self._alive_every_s and now_s >= self._alive_s and (not attached or _kernel_schedules()):
            self._alive_s = now_s + self._alive_every_s
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        text = "\n".join([self._unsent, *lines]).strip("\n")
        if len(text) > _UNSENT_MAX:
            text = "\n".join(lines)  # of several, the newest counts
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._unsent = ""
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.sendto(text.encode(errors="replace"), socket.MSG_NOSIGNAL, self._address)
        except BlockingIOError:
            # The service manager is busy. It has to know all but that pyland was alive.
            self._unsent = "" if text == "WATCHDOG=1" else text
        except OSError:
            return  # there is no service manager at this address


def told(answer: Mapping[str, Any]) -> str:
    """The answer to a reload that no client asked for, in one line."""
    if answer.get("ok"):
        return escape(f"pyland: policy {answer.get('policy')} was reloaded")
    return escape(f"pyland: the policy was not reloaded: {answer.get('error')}")


def _kernel_schedules() -> bool:
    try:
        return (checks.SCHED_EXT / "state").read_text().strip() == "enabled"
    except OSError:
        return False


def _status(text: str) -> str:
    return f"STATUS={escape(text)[:_STATUS_MAX]}"
