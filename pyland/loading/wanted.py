# SPDX-License-Identifier: GPL-2.0-only
"""Which policy is wanted: the one form in which the command, clients and processes say it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pyland.loading.finder import Choice, choose


class Wanted(NamedTuple):
    """What was asked for: the name of a policy that was not looked for yet, and its options.

    `pyland.loading.finder.choose` has the forms of the name.
    """

    spec: str
    given: tuple[str, ...] = ()
    """Its options, as `name=value` texts."""
    folder: str = "/"
    """The absolute path where modules and relative files are looked for."""

    def choose(self, *, reload: bool = False) -> Choice:
        """Find and import it; raises UsageError."""
        return choose(self.spec, self.given, folder=Path(self.folder), reload=reload)


LAST_RESORT = Wanted("deadline")
"""Takes over from a policy that fails again and again."""
