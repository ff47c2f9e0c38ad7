# SPDX-License-Identifier: GPL-2.0-only
"""The file of a trace: opened before the trace begins, and as it was if there is no trace."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from pyland.errors import UsageError
from pyland.loading.caller import calling_user, rights_of_caller


class Output:
    """The open file. It is emptied only when the trace begins."""

    def __init__(self, name: str) -> None:
        """Open the file or make it; raises UsageError if it cannot be written."""
        self.name = name
        self._created = False
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        # Another user may have put a link to a file of the caller there; /dev/stdout is a link.
        no_link = 0 if name.startswith("/dev/") else os.O_NOFOLLOW
        try:
            with rights_of_caller():
                try:
                    self.fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600)
                    self._created = True
                except FileExistsError:
                    self.fd = os.open(name, flags | no_link)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"-o {name}: {why}") from None
        found = os.fstat(self.fd)
        self._is_file = stat.S_ISREG(found.st_mode)
        if self._is_file and found.st_uid != calling_user().uid:
            os.close(self.fd)
            raise UsageError(
                f"-o {name}: the file belongs to user {found.st_uid}: take another name"
            )
        # The writer waits for the reader of a pipe itself, and not for ever.
        os.set_blocking(self.fd, self._is_file)

    def begin(self) -> None:
        """Empty it; no other user can read it from here on."""
        if self._is_file:
            os.fchmod(self.fd, 0o600)
            os.ftruncate(self.fd, 0)

    def close(self, *, written: bool) -> None:
        """Close it; a new file in which nothing was written goes away."""
        os.close(self.fd)
        if self._created and not written:
            with suppress(OSError), rights_of_caller():
                os.unlink(self.name)
