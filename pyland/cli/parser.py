# SPDX-License-Identifier: GPL-2.0-only
"""Shared parts of the commands' parsers."""

import argparse
import os
from collections.abc import Callable
from typing import NoReturn

from pyland.errors import UsageError
from pyland.output import printing


class Parser(argparse.ArgumentParser):
    """Prints one line for a mistake, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: object = None) -> None:
        printing.show(message.rstrip("\n"))


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
