# SPDX-License-Identifier: GPL-2.0-only
"""A socket that listens at a path; clients see it with its owner, group and mode, or not at all."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

SOCKET_PATH_MAX = 107
"""The most bytes of a path that a client can connect to."""
_UNREADABLE = 0o177
"""The umask with which a socket is made, until it has its group and mode."""


class Listener(NamedTuple):
    """A listening socket, which does not block, and what its file is known by."""

    socket: socket.socket
    device: int
    inode: int


def listen_at(path: Path, *, mode: int, backlog: int, owner: int = -1, group: int = -1) -> Listener:
    """Listen at `path`; replaces a file that is there. `owner` and `group` are numbers, -1: keep.

    The file is made with another name and renamed when the socket listens. Else a client that
    comes early would be told that it may not connect, and would not try again. Raises OSError.
    """
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, "the path is too long for a socket")
    listener = socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    # No other user can foresee the name, and no other file has it.
    folder, suffix = -1, f".{os.urandom(4).hex()}"
    new = path.name + suffix
    address = os.fspath(path.with_name(new))  # what `ss` shows
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if len(os.fsencode(address)) > SOCKET_PATH_MAX:
            new = suffix
            address = f"/proc/self/fd/{folder}/{new}"
        with umask(_UNREADABLE):
            listener.bind(address)
        try:
            device, inode = _give(folder, new, owner, group, mode)
            listener.listen(backlog)
            os.rename(new, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(new, dir_fd=folder)
            raise
    except BaseException:
        listener.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return Listener(listener, device, inode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Files made in the block do not have these bits of the mode."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _give(folder: int, name: str, owner: int, group: int, mode: int) -> tuple[int, int]:
    """Give the socket its owner, group and mode; never a file that took its place meanwhile."""
    file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        found, held = os.fstat(file), f"/proc/self/fd/{file}"
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        os.chown(held, owner, group)
        os.chmod(held, mode)
        return found.st_dev, found.st_ino
    finally:
        os.close(file)
