# SPDX-License-Identifier: GPL-2.0-only
"""Sockets to listen at. A live server keeps its socket; the socket of a dead server is replaced."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Self

from pyland.errors import UsageError
from pyland.host.listener import listen_at, umask
from pyland.stats.places import Places

BACKLOG = 1024
"""Clients that may wait to be accepted: as many as are served at once."""


class Listening:
    """The open sockets of a run; close it in the process that opened them."""

    def __init__(self) -> None:
        """None yet."""
        self.stats: socket.socket | None = None
        """Speaks the protocol of scx_stats."""
        self.metrics: socket.socket | None = None
        """Speaks HTTP, and answers with OpenMetrics."""
        self.notes: list[str] = []
        """A line for each socket that could not be opened; pyland goes on without it."""
        self._files: list[tuple[Path, tuple[int, int]]] = []

    @classmethod
    def at(cls, places: Places) -> Self:
        """Open them; raises UsageError if a place that the user named cannot be had."""
        found = cls()
        try:
            if (path := places.stats_path) is not None:
                try:
                    found.stats = found._unix(path, places)
                except UsageError as error:
                    if places.must_serve_stats:
                        raise UsageError(f"--stats-socket {error}") from None
                    found.notes.append(f"no statistics are served: {error}")
            if (path := places.metrics_path) is not None:
                try:
                    found.metrics = found._unix(path, places)
                except UsageError as error:
                    raise UsageError(f"--metrics {error}") from None
            elif places.metrics:
                found.metrics = _tcp(*places.metrics_address)
        except BaseException:
            found.close()
            raise
        return found

    def __bool__(self) -> bool:
        return self.stats is not None or self.metrics is not None

    def close(self) -> None:
        """Stop listening, and remove the sockets' files if they are still these sockets."""
        for listener in (self.stats, self.metrics):
            if listener is not None:
                listener.close()
        for path, identity in self._files:
            with suppress(OSError):
                found = path.lstat()
                if (found.st_dev, found.st_ino) == identity:
                    path.unlink()

    def _unix(self, path: Path, places: Places) -> socket.socket:
        try:
            if path == places.stats_path:
                _make_folders(path)
            _check_folders(path.parent)
            _check_free(path)
            found = listen_at(path, mode=places.mode_bits, group=places.group_id, backlog=BACKLOG)
            self._files.append((path, (found.device, found.inode)))
            return found.socket
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


def _make_folders(path: Path) -> None:
    """Make the two folders above a socket, as in /run/scx/root/stats, if they are missing."""
    root = path.parent.parent.parent
    _check_folders(root)
    with umask(0o022):
        for folder in (path.parent.parent, path.parent):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o755)


def _check_folders(folder: Path) -> None:
    """Raise UsageError if another user can put anything else in the place of the folder."""
    found = folder.resolve(strict=True)
    for one in (found, *found.parents):
        _check_folder(one)


def _check_folder(folder: Path) -> None:
    """Raise UsageError if another user can rename or replace files in the folder."""
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{folder} belongs to user {found.st_uid}: it must be root's")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise UsageError(f"{folder} can be changed by others: run `chmod go-w` on it")


def _check_free(path: Path) -> None:
    """Raise UsageError unless nothing is there, or the socket of a server that has ended."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise UsageError(f"{path} is there already, and is no socket")
    if found.st_uid not in (0, os.geteuid()):
        raise UsageError(f"{path} is a socket of user {found.st_uid}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # so many clients wait that there is no room for another
    raise UsageError(f"another server listens at {path}")


def _tcp(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        listener = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(f"--metrics {address}, port {port}: {error.strerror or error}") from None
    try:
        # Else the port would be taken for a minute after a run that had clients.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(f"--metrics {address}, port {port}: {error.strerror or error}") from None
    return listener
