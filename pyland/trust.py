# SPDX-License-Identifier: GPL-2.0-only
"""Whose files may be run: those that nobody but root and the calling user can change."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyland.caller import VARIABLES, calling_user

_LINKS_MAX = 40  # as many as the kernel follows


_remembered: frozenset[int] | None = None


def remember_trusted_users() -> None:
    """Let `trusted_users` say what it says now, also after this process has become nobody."""
    global _remembered  # noqa: PLW0603 - one process has one answer
    _remembered = trusted_users()


def trusted_users() -> frozenset[int] | None:
    """Root and the calling user, when there is more at stake than the user's own rights.

    None when an ordinary user runs what that user may run anyway. Under sudo and the like
    it is a set even after the process has become the calling user. Raises UsageError.
    """
    if _remembered is not None:
        return _remembered
    # A variable that the user wrote makes it only stricter.
    if os.geteuid() != 0 and not any(map(os.environ.get, VARIABLES)):
        return None
    return frozenset({0, calling_user().uid})


def untrusted(path: Path, callers: frozenset[int]) -> str | None:
    """Why others than root and `callers` could decide what `path` says; None if they cannot.

    Every folder and symbolic link on the way counts, not the file alone. A sticky folder
    that all can write to, such as /tmp, will do: there only the owner of an entry, who is
    looked at next, can replace it.
    """
    trusted = callers | {0}
    try:
        # From the root down, so that what was looked at cannot be exchanged afterwards.
        for entry in _on_the_way(path):
            found = entry.lstat()
            if found.st_uid not in trusted:
                return f"{entry} belongs to {_user(found.st_uid)}: it must be root's or yours"
            if stat.S_ISLNK(found.st_mode):
                continue  # its mode says nothing
            if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
                continue
            if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                who = "everyone" if found.st_mode & stat.S_IWOTH else "its group"
                return f"{entry} can be changed by {who}: run `chmod go-w` on it"
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def _on_the_way(path: Path) -> Iterator[Path]:
    """The folders and links that lead to `path`, as the kernel meets them, and itself."""
    at = Path("/")
    todo = [*reversed(path.absolute().parts)]
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = at.parent
            continue
        at = at / name  # "/" leads back to the root
        yield at
        if at.is_symlink():
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            todo += reversed(Path(os.readlink(at)).parts)
            at = at.parent


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name}"
    return f"user {uid}"
