# SPDX-License-Identifier: GPL-2.0-only
"""The file of a trace: opened before the trace begins, and as it was if there is no trace."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from pyland.errors import UsageError
from pyland.loading.caller import calling_user


class Output:
    """The open file. It is emptied only when the trace begins."""

    def __init__(self, name: str) -> None:
        """Open the file or make it; raises UsageError if it cannot be written."""
        self.name = name
        self._created = False
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        try:
            try:
                self.fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600)
                self._created = True
            except FileExistsError:
                self.fd = os.open(name, flags)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"-o {name}: {why}") from None
        os.set_blocking(self.fd, True)
        if self._created:
            # The caller of sudo wants to open it, and other users must not.
            with suppress(OSError, UsageError):
                caller = calling_user()
                os.fchown(self.fd, caller.uid, caller.gid)

    def begin(self) -> None:
        """Empty it."""
        if stat.S_ISREG(os.fstat(self.fd).st_mode):
            os.ftruncate(self.fd, 0)

    def close(self, *, written: bool) -> None:
        """Close it; a new file in which nothing was written goes away."""
        os.close(self.fd)
        if self._created and not written:
            with suppress(OSError):
                os.unlink(self.name)
