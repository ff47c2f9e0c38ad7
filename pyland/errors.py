# SPDX-License-Identifier: GPL-2.0-only
"""What the user can mend, and what ended a run."""


class UsageError(Exception):
    """The input or the machine does not allow to start; nothing was changed.

    The message is one line: what was wrong, where, and what would be right. The
    command prints it and exits with 2.
    """


class ScheduleError(Exception):
    """A run ended by itself; the system is on its default scheduler again."""

    def __init__(self, reason: str, dump: str = "") -> None:
        """`dump` is what the kernel wrote down when it ended the scheduler, in many lines."""
        super().__init__(reason)
        self.dump = dump
