# SPDX-License-Identifier: GPL-2.0-only
"""Shared parts of the commands' parsers."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pyland.errors import UsageError
from pyland.loading.finder import NO_FOLDER
from pyland.output import printing
from pyland.stats.places import DEFAULT_PATH


class Parser(argparse.ArgumentParser):
    """Prints one line for a mistake, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:
        printing.show(message.rstrip("\n"))


def add_stats_socket(parser: argparse.ArgumentParser) -> None:
    """Add --stats-socket, for a client of the statistics."""
    parser.add_argument(
        "--stats-socket",
        default="",
        metavar="PATH",
        help=f"where pyland serves statistics (default {DEFAULT_PATH})",
    )


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


def as_policies_run(function: Callable[[], str]) -> str:
    """The result of a function that runs code of policies: never with root's rights.

    Raises the function's UsageError, or a UsageError that it ended its process.
    """
    if os.geteuid() != 0:
        return function()
    # The native part is imported only here: an ordinary user does not need it.
    from pyland.supervisor.confined import as_policy_user

    return as_policy_user(function)


def shown(value: object) -> str:
    """A value in one line for people: yes or no, escaped for a terminal."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printing.escape(str(value))
