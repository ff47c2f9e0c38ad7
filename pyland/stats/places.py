# SPDX-License-Identifier: GPL-2.0-only
"""Where a run serves its statistics: the options, checked."""

from __future__ import annotations

import grp
import ipaddress
from pathlib import Path
from typing import Any, NamedTuple, Self

from pyland.errors import UsageError
from pyland.host.listener import SOCKET_PATH_MAX

DEFAULT_PATH = Path("/var/run/scx/root/stats")
"""Where clients of scx_stats look."""
NONE = "none"
_LOOPBACK = "127.0.0.1"


class _Given(NamedTuple):
    stats_socket: str = ""
    """A path, or `none`; empty is the default path, where pyland can do without."""
    mode: str = ""
    """The sockets' mode in octal; empty is 600, or 660 with a group."""
    group: str = ""
    """The sockets' group, by name or number; empty leaves the group of this process."""
    metrics: str = ""
    """`[ADDRESS:]PORT` or a path; empty for none."""


class Places(_Given):
    """The options; the constructor raises UsageError if one of them cannot be."""

    __slots__ = ()

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Each field by its place or its name."""
        self = super().__new__(cls, *values, **named)
        self._check()
        return self

    def _check(self) -> None:
        if self.stats_socket not in ("", NONE):
            _check_path("--stats-socket", self.stats_socket)
        if self.metrics_path is None and self.metrics:
            _ = self.metrics_address
        _ = self.mode_bits, self.group_id

    @property
    def stats_path(self) -> Path | None:
        """The path of the socket in the protocol of scx_stats; None for no socket."""
        if self.stats_socket == NONE:
            return None
        return Path(self.stats_socket) if self.stats_socket else DEFAULT_PATH

    @property
    def must_serve_stats(self) -> bool:
        """True if the user named a path: pyland ends if it cannot listen there."""
        return self.stats_socket not in ("", NONE)

    @property
    def metrics_path(self) -> Path | None:
        """The path of the UNIX socket for metrics; None if they have none."""
        if "/" not in self.metrics:
            return None
        _check_path("--metrics", self.metrics)
        return Path(self.metrics)

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Address and port for metrics over TCP; raises UsageError for another value."""
        address, colon, port = self.metrics.rpartition(":")
        if not colon:
            address = _LOOPBACK
        bracketed = address.startswith("[") and address.endswith("]")
        bare = address[1:-1] if bracketed else address
        try:
            version = ipaddress.ip_address(bare).version
            if (version == 6) != bracketed or not bare.isascii():
                raise ValueError
            if not (port.isascii() and port.isdecimal()):
                raise ValueError
            number = int(port)
            if len(port) > 5 or not 0 < number < 1 << 16:
                raise ValueError
        except ValueError:
            raise UsageError(
                f"--metrics {self.metrics}: it takes a port from 1 to 65535, such as 9100, "
                "ADDRESS:PORT with a number for an address, [ADDRESS]:PORT for IPv6, "
                "or the path of a socket with a / in it"
            ) from None
        return bare, number

    @property
    def mode_bits(self) -> int:
        """The sockets' mode."""
        if not self.mode:
            return 0o660 if self.group else 0o600
        octal = self.mode.removeprefix("0o")
        if not 1 <= len(octal) <= 4 or set(octal) - set("01234567") or int(octal, 8) > 0o777:
            raise UsageError(f"--stats-mode {self.mode}: it takes an octal mode, such as 660")
        return int(octal, 8)

    @property
    def group_id(self) -> int:
        """The sockets' group; -1 leaves it."""
        if not self.group:
            return -1
        if self.group.isascii() and self.group.isdecimal() and len(self.group) <= 10:
            number = int(self.group)
            if number < 2**32 - 1:
                return number
        try:
            return grp.getgrnam(self.group).gr_gid
        except (KeyError, ValueError):
            raise UsageError(f"--stats-group {self.group}: there is no such group") from None


def _check_path(option: str, path: str) -> None:
    if "/" not in path or "\0" in path or path.endswith("/"):
        raise UsageError(f"{option} {path}: it takes the path of a socket, with a / in it")
    if len(path.encode(errors="surrogateescape")) > SOCKET_PATH_MAX:
        raise UsageError(f"{option} {path}: it takes a path of at most {SOCKET_PATH_MAX} bytes")
