# SPDX-License-Identifier: GPL-2.0-only
"""The errors that end a command: a mistake of the user, or a scheduler that ended."""


class UsageError(Exception):
    """The input is wrong, or the machine cannot be scheduled; nothing was changed.

    The message is one line: what was wrong, where, and what would be right. The command
    prints it and exits with 2.
    """


class ScheduleError(Exception):
    """A run ended by itself; the kernel's default scheduler has taken over."""

    def __init__(self, reason: str, dump: str = "") -> None:
        """`dump` is the kernel's debug dump, in many lines."""
        super().__init__(reason)
        self.dump = dump
