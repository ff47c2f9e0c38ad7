# SPDX-License-Identifier: GPL-2.0-only
"""What the commands' parsers have in common."""

import argparse
from pathlib import Path
from typing import NoReturn

from pyland import printing
from pyland.errors import UsageError


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


def current_folder() -> Path:
    """Where a policy of the user's is looked for; raises UsageError."""
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError(f"the current folder: {error.strerror}") from None


def shown(value: object) -> str:
    """A value for people, who write yes and no; in one line that does a terminal no harm."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printing.escape(str(value))
