# SPDX-License-Identifier: GPL-2.0-only
"""Runs policy code for root's side: in a process of its own, without rights, for a bounded time.

What only has to be looked at, as whether a policy can be imported and made, does not need the
worker: the answer comes back as text, and whatever the code does ends with its process.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from pyland._native import lib
from pyland.engine import guard
from pyland.errors import UsageError
from pyland.loading.caller import Caller, calling_user, policy_user
from pyland.loading.trust import remember_trusted_users
from pyland.supervisor import loader, privileges
from pyland.supervisor.descendants import reap

ANSWER_MAX = 1 << 20
"""Bytes of an answer; the code that sends more gets none."""
_KILLED_WITHIN_S = 0.2
WITHIN_S = 60.0
"""How long the code has where nothing else is said."""


def as_policy_user(function: Callable[[], str]) -> str:
    """What `function` returns, run by root's side as the user as whom policies run."""
    remember_trusted_users()
    return ConfinedCall(function, policy_user(calling_user())).wait()


class ConfinedCall:
    """A call that runs; poll for `fileno()` to be readable, and ask `answer()` then."""

    def __init__(
        self,
        function: Callable[[], str],
        user: Caller,
        *,
        may_start_processes: bool = False,
        within_s: float = WITHIN_S,
    ) -> None:
        """Fork; `function` runs as `user`, and what it raises as UsageError is the answer too."""
        self._user = user
        self._until_s = time.monotonic() + within_s
        self._within_s = within_s
        self._data = b""
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self._pid = os.fork()
        except OSError as error:
            for descriptor in (self._reading, writing):
                os.close(descriptor)
            raise UsageError(f"no process to try it in: {error.strerror}") from None
        if self._pid == 0:
            _live(function, user, writing, may_start_processes)
        os.close(writing)
        self._pidfd = os.pidfd_open(self._pid)

    def fileno(self) -> int:
        """Readable when there is something to read or the call has ended; -1 when taken."""
        return self._reading

    @property
    def is_late(self) -> bool:
        """Has it had its time?"""
        return time.monotonic() > self._until_s

    def answer(self) -> str | None:
        """What the function returned, None while it runs.

        Raises UsageError with what it raised, or when it ended without an answer or has had
        its time. The process is gone after that.
        """
        ended = self._read()
        if not ended and not self.is_late:
            return None
        self.close()
        if not ended:
            raise UsageError(f"it was not done after {self._within_s:g} s")
        return _parse(self._data, self._user)

    def wait(self) -> str:
        """The answer, however long it takes within its time; raises UsageError."""
        while (answer := self.answer()) is None:
            left_s = max(self._until_s - time.monotonic(), 0)
            select.select([self._reading], [], [], left_s)
        return answer

    def close(self) -> None:
        """End the process, if it is still there."""
        if self._reading < 0:
            return
        os.close(self._reading)
        self._reading = -1
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        reap(self._pid, self._pidfd, _KILLED_WITHIN_S)
        os.close(self._pidfd)

    def _read(self) -> bool:
        """Take what is there; True at the end of it."""
        while len(self._data) <= ANSWER_MAX:
            try:
                more = os.read(self._reading, 1 << 16)
            except BlockingIOError:
                return False
            if not more:
                return True
            self._data += more
        return True


def keep_only(descriptors: Iterable[int]) -> None:
    """Close every other descriptor of this process, and give it no terminal and no input.

    What is mapped of BPF's memory goes as well: the parent's loaded scheduler is in it. Raises
    UsageError when that cannot be done.
    """
    if lib.pyland_leave_bpf_memory():
        raise UsageError(loader.error())
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    kept = sorted({2, *descriptors})
    # To the highest there can be: the limit may be lower than when they were opened.
    for low, high in zip(kept, [*kept[1:], 2**31 - 1], strict=True):
        os.closerange(low + 1, high)


def _live(
    function: Callable[[], str], user: Caller, writing: int, may_start_processes: bool
) -> NoReturn:
    answer = {"error": "it ended the process"}
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        keep_only([writing])
        os.set_blocking(writing, True)
        privileges.drop(user)
        privileges.leave_surroundings()
        lib.pyland_confine(may_start_processes)
        answer = {"value": function()}
    except UsageError as refused:
        answer = {"error": str(refused)}
    except BaseException as raised:  # noqa: BLE001 - it must not return into the caller's code
        answer = {"error": guard.describe(raised)}
    finally:
        with suppress(BaseException):
            os.write(writing, json.dumps(answer).encode()[:ANSWER_MAX])
        os._exit(0)


def _parse(data: bytes, user: Caller) -> str:
    found = None
    with suppress(ValueError, RecursionError):
        found = json.loads(data)
    if isinstance(found, dict):
        if isinstance(value := found.get("value"), str):
            return value
        if isinstance(error := found.get("error"), str):
            if error.endswith(os.strerror(errno.EACCES)):
                error += f" for {user.name}, as whom the policy runs: let it be read, or see --user"
            raise UsageError(error)
    raise UsageError("it ended the process")
