# SPDX-License-Identifier: GPL-2.0-only
"""The folder in which a command was given: a user's policy is looked for there."""

from pathlib import Path

from pyland.errors import UsageError

NO_FOLDER = Path("/dev/null")
"""Stands for a folder that was removed: it exists, and nothing can be in it."""


def current_folder(spec: str | None = None) -> Path:
    """The folder in which a user's policy is searched.

    If the folder was removed it is `NO_FOLDER`, which is enough for a built-in or installed
    policy; raises UsageError if `spec` needs the folder.
    """
    try:
        return Path.cwd()
    except OSError as error:
        file = (spec or "").partition(":")[0]
        if not file.startswith("/") and ("/" in file or file.endswith(".py")):
            raise UsageError(
                f"--policy {spec}: the current folder: {error.strerror}; give the file's whole path"
            ) from None
        return NO_FOLDER
