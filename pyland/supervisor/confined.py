# SPDX-License-Identifier: GPL-2.0-only
"""Runs policy code for root: in a process of its own, without rights, for a limited time.

Some questions about a policy do not need the worker, for example whether the policy can be
imported and constructed. The answer comes back as text. When the process ends, nothing of the
policy's code stays behind.
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
from pyland.supervisor import descendants, loader, privileges

ANSWER_MAX = 1 << 20
"""The most bytes of an answer; a longer answer is cut, and counts as no answer."""
_KILLED_WITHIN_S = 0.2
WITHIN_S = 60.0
"""Seconds that the code may take, if the caller gives no other limit."""


def as_policy_user(function: Callable[[], str]) -> str:
    """The text that `function` returns when root runs it as the policy's user; see `wait`."""
    remember_trusted_users()
    return ConfinedCall(function, policy_user(calling_user())).wait()


class ConfinedCall:
    """A running call: poll `fileno()`, and call `answer()` when it is readable."""

    def __init__(
        self,
        function: Callable[[], str],
        user: Caller,
        *,
        may_start_processes: bool = False,
        within_s: float = WITHIN_S,
    ) -> None:
        """Fork, and run `function` as `user` in the child.

        Raises UsageError if no process can be started; `answer` raises what `function` raises.
        """
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
        descendants.started(self._pid)
        self._pidfd = os.pidfd_open(self._pid)

    def fileno(self) -> int:
        """The descriptor to poll: readable when data came or the call ended; -1 after `close`."""
        return self._reading

    @property
    def is_late(self) -> bool:
        """True if the call used up its time."""
        return time.monotonic() > self._until_s

    def answer(self) -> str | None:
        """The text that the function returned; None while the call runs.

        Raises UsageError if the function raised an exception, if the process ended without an
        answer, or if the call used up its time. Once this raises or returns a text, the process
        is gone.
        """
        ended = self._read()
        if not ended and not self.is_late:
            return None
        self.close()
        if not ended:
            raise UsageError(f"it was not done after {self._within_s:g} s")
        return _parse(self._data, self._user)

    def wait(self) -> str:
        """Wait for the answer, at most for the time of the call; raises UsageError as `answer`."""
        while (answer := self.answer()) is None:
            left_s = max(self._until_s - time.monotonic(), 0)
            select.select([self._reading], [], [], left_s)
        return answer

    def close(self) -> None:
        """Kill the process if it still runs, and close its descriptors."""
        if self._reading < 0:
            return
        os.close(self._reading)
        self._reading = -1
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        descendants.reap(self._pid, self._pidfd, _KILLED_WITHIN_S)
        os.close(self._pidfd)

    def _read(self) -> bool:
        """Read the bytes that have come; True at the end of the answer."""
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
    """Close all descriptors except `descriptors`; the standard streams become /dev/null.

    This also unmaps BPF's memory, which this process has from its parent, with the state of the
    scheduler. Raises UsageError if the memory cannot be unmapped.
    """
    if lib.pyland_leave_bpf_memory():
        raise UsageError(loader.error())
    close_all_but(descriptors)


def close_all_but(descriptors: Iterable[int]) -> None:
    """Close all descriptors except `descriptors`; the standard streams become /dev/null."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    kept = sorted({2, *descriptors})
    # Up to the highest possible number: a descriptor may be above a limit that was lowered later.
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
