# SPDX-License-Identifier: GPL-2.0-only
"""Says how an attachment ended: by the kernel, by a signal, or by its policy."""

from __future__ import annotations

import os
from typing import NamedTuple

from pyland.errors import ScheduleError, UsageError
from pyland.supervisor import messages
from pyland.supervisor.loader import LoadedScheduler
from pyland.supervisor.signals import Signals

_SIGNAL_WITHIN_S = 0.2
"""A signal for the whole process group may reach the worker earlier than this process: by this."""


class Ended(NamedTuple):
    """How an attachment ended without an error; with `again` the object has to be loaded again."""

    reason: str
    again: bool = False


def how_ended(
    scheduler: LoadedScheduler,
    words: messages.WorkerMessage | None,
    signals: Signals,
    policy: str,
    *,
    attached: bool,
    died: bool,
) -> Ended | None:
    """How the attachment ended; None while it goes on.

    `words` is the last message of the worker that may end it, and `died` is true if the worker
    has. Raises UsageError for a policy that cannot start, and ScheduleError for other failures.
    """
    state = scheduler.state.shared
    if state.exited:
        end = scheduler.exit()
        if end.wants_restart and not signals.got and not died:
            return Ended(str(end), again=True)
        if end.was_asked:
            return Ended(f"the kernel ended it: {end}")
        if not end.wants_restart:
            raise ScheduleError(f"the kernel ended it: {end}", end.dump)
    elif state.drain_error:
        broken = os.strerror(state.drain_error)
        raise ScheduleError(f"the ring of decisions is broken: {broken}")
    elif words is None and not died:
        return None
    if isinstance(words, messages.Refused | messages.Broken) and not attached:
        raise UsageError(words.error)
    if isinstance(words, messages.Refused | messages.Broken):
        raise ScheduleError(f"policy {policy}: {words.error}")
    if isinstance(words, messages.GaveUp):
        raise ScheduleError(f"policy {words.policy} failed, and --strict was given")
    stopped = isinstance(words, messages.Stopped) and words.how == "SIGNAL"
    # What the worker says of a signal counts only if one has come here as well.
    if signals.got or (stopped and signals.come_within(_SIGNAL_WITHIN_S)):
        return Ended("stopped by a signal")
    if died:
        raise ScheduleError(f"policy {policy}: the process that runs it died")
    raise ScheduleError(f"policy {policy}: the process that runs it stopped scheduling")
