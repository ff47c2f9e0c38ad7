# SPDX-License-Identifier: GPL-2.0-only
"""What the commands' parsers have in common."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pyland import printing
from pyland.errors import UsageError
from pyland.finder import NO_FOLDER


class Parser(argparse.ArgumentParser):
    """One line for a mistake, instead of the usage and a line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:
        printing.show(message.rstrip("\n"))


def add_policy(parser: argparse.ArgumentParser, default: str | None, text: str) -> None:
    """Add --policy and --policy-opt."""
    parser.add_argument("--policy", metavar="POLICY", default=default, help=text)
    parser.add_argument(
        "--policy-opt",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an option of the policy; can be given several times",
    )


def current_folder(spec: str | None = None) -> Path:
    """Where a policy of the user's is looked for; raises UsageError when `spec` needs it.

    A folder that was removed is `NO_FOLDER`: what is built in or installed is not in it.
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


def as_policies_run(function: Callable[[], str]) -> str:
    """What the function returns, which runs code of policies: never with root's rights.

    Raises UsageError with what it raises as one, or that it ended its process.
    """
    if os.geteuid() != 0:
        return function()
    # The native part only here: an ordinary user may look at policies without it.
    from pyland.kernel.confined import as_policy_user

    return as_policy_user(function)


def shown(value: object) -> str:
    """A value for people, who write yes and no; in one line that does a terminal no harm."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printing.escape(str(value))
