# SPDX-License-Identifier: GPL-2.0-only
"""The `pyland` command: runs the command that its first word names, else `run`."""

import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from pyland.errors import UsageError
from pyland.output import printing

COMMANDS = (
    *("run", "policies", "status", "monitor", "latency", "swap"),
    *("layered", "layers", "top", "reload", "trace"),
)
"""Each is a module of this package, with a `build_parser` and a `command`."""


def module_of(command: str) -> ModuleType:
    """The module of one of `COMMANDS`."""
    # Only the one that runs: to import all of them takes longer than a small command does.
    return importlib.import_module(f"pyland.cli.{command}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 (ended as asked), 1 (ended by a failure) or 2 (bad input)."""
    printing.prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = "run"
    if arguments and arguments[0] in COMMANDS:
        command = arguments.pop(0)
    try:
        return int(module_of(command).command(arguments))
    except UsageError as error:
        printing.say(f"pyland: {printing.escape(str(error))}", "stderr", printing.ERROR)
        return 2
    except KeyboardInterrupt:
        return 0
