# SPDX-License-Identifier: GPL-2.0-only
"""Which files may be run: those that only root and the calling user can change."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyland.loading.caller import VARIABLES, calling_user

_LINKS_MAX = 40  # the kernel's own limit


_remembered: frozenset[int] | None = None


def remember_trusted_users() -> None:
    """Keep the answer of `trusted_users`: this process may later change its user."""
    global _remembered  # noqa: PLW0603 - one process has one answer
    _remembered = trusted_users()


def trusted_users() -> frozenset[int] | None:
    """Root and the calling user, if code would run with more rights than that user has.

    None for an ordinary user, who may run any code anyway. Under sudo and the like it is a
    set, also after the process has become the calling user. Raises UsageError.
    """
    if _remembered is not None:
        return _remembered
    # A user may set such a variable by hand: then the rule only becomes stricter.
    if os.geteuid() != 0 and not any(map(os.environ.get, VARIABLES)):
        return None
    return frozenset({0, calling_user().uid})


def untrusted(path: Path, callers: frozenset[int]) -> str | None:
    """Why a user other than root and `callers` can change `path`; None if none can.

    Every folder and symbolic link on the way counts, not only the file. A sticky folder that
    all users can write to, such as /tmp, is fine: there only the owner of an entry can
    replace it, and the entry is checked next.
    """
    trusted = callers | {0}
    try:
        # From the root down, so that a checked entry cannot be replaced afterwards.
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
    """The folders and links that lead to `path`, as the kernel follows them, and `path`."""
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
