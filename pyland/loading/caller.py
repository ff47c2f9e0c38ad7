# SPDX-License-Identifier: GPL-2.0-only
"""The calling user: the user of sudo, doas, run0 or pkexec, else the user of this process."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self

from pyland.errors import UsageError

VARIABLES = ("SUDO_UID", "DOAS_USER", "PKEXEC_UID")
"""Each names the calling user; run0 sets sudo's. SUDO_GID goes with the first."""

_NO_ID = 2**32 - 1
"""-1 as the kernel's uid_t. For set*id() it means "do not change", so root would stay root."""


_NOBODY = 65534  # the kernel's overflowuid


class Caller(NamedTuple):
    """A user and the primary group of its processes."""

    uid: int
    gid: int
    name: str

    @classmethod
    def of(cls, uid: int, gid: int) -> Self:
        """The user with its login name, or its number if the user database has no entry."""
        entry = _entry(uid)
        return cls(uid, gid, entry.pw_name if entry else str(uid))


def calling_user(environment: Mapping[str, str] = os.environ) -> Caller:
    """The user of sudo, doas or pkexec that `environment` names, else the user of this process.

    Only root believes `environment`: any other user can write into it. If one of these
    programs ran another, a variable may name root: root called the inner one, and the other
    variable names the user. Two users other than root contradict each other. Raises
    UsageError for that, and for a value that is no user.
    """
    if os.geteuid() != 0:
        return Caller.of(os.geteuid(), os.getegid())
    found = dict(_named(environment))
    users = {caller.uid for caller in found.values()} - {0}
    if len(users) > 1:
        told = ", ".join(f"{name}={environment[name]}" for name in found)
        raise UsageError(f"the calling user is not clear: {told}; unset what is wrong")
    for caller in found.values():
        if caller.uid in users:
            return caller
    return Caller.of(0, 0)


@contextmanager
def rights_of_caller() -> Iterator[None]:
    """Within the block, files are found, opened and removed as the calling user may do it.

    For files that a user names to `sudo pyland`: with root's rights a caller that may run only
    pyland could write or read any file. Only for a process with one thread.
    """
    caller = calling_user()
    if os.geteuid() != 0 or caller.uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups(os.getgrouplist(caller.name, caller.gid))
    os.setegid(caller.gid)
    os.seteuid(caller.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def policy_user(caller: Caller, wanted: str = "") -> Caller:
    """The user that a policy runs as: `wanted` (a name or number), else the caller, not root.

    Without `wanted`, `nobody` stands for root: a process of root can write root's files even
    without capabilities. Raises UsageError if `wanted` is root or does not exist.
    """
    if not wanted:
        return caller if caller.uid else _nobody()
    try:
        entry = pwd.getpwuid(int(wanted)) if _is_number(wanted) else pwd.getpwnam(wanted)
    except (KeyError, ValueError):
        raise UsageError(f"--user {wanted!r}: there is no such user") from None
    if entry.pw_uid == 0:
        raise UsageError(f"--user {wanted}: a policy does not run as root; leave it out for nobody")
    return Caller(entry.pw_uid, entry.pw_gid, entry.pw_name)


def _nobody() -> Caller:
    with suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return Caller(entry.pw_uid, entry.pw_gid, entry.pw_name)
    return Caller(_NOBODY, _NOBODY, str(_NOBODY))


def _named(environment: Mapping[str, str]) -> Iterator[tuple[str, Caller]]:
    """The users that the variables name; an empty variable names none."""
    if text := environment.get("SUDO_UID"):
        uid = _number("SUDO_UID", text)
        group = environment.get("SUDO_GID")
        gid = _number("SUDO_GID", group) if group else _gid_of("SUDO_UID", uid)
        yield "SUDO_UID", Caller.of(uid, gid)
    if text := environment.get("DOAS_USER"):
        try:
            entry = pwd.getpwnam(text)
        except (KeyError, ValueError):
            raise UsageError(f"DOAS_USER is {text!r}, and there is no such user") from None
        yield "DOAS_USER", Caller(entry.pw_uid, entry.pw_gid, entry.pw_name)
    if text := environment.get("PKEXEC_UID"):
        uid = _number("PKEXEC_UID", text)
        yield "PKEXEC_UID", Caller.of(uid, _gid_of("PKEXEC_UID", uid))


def _number(variable: str, text: str) -> int:
    if _is_number(text):
        return int(text)
    raise UsageError(f"{variable} is {text!r}: it takes a number from 0 to {_NO_ID - 1}")


def _is_number(text: str) -> bool:
    # int() also takes signs, blanks, underscores and digits of other alphabets.
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < _NO_ID


def _gid_of(variable: str, uid: int) -> int:
    if (entry := _entry(uid)) is None:
        raise UsageError(f"{variable} is {uid}: the user database does not say which group it has")
    return entry.pw_gid


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
