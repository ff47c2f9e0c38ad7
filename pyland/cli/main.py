# SPDX-License-Identifier: GPL-2.0-only
"""The `pyland` command: runs the command that its first word names, else `run`."""

import sys
from collections.abc import Sequence

from pyland.cli import (
    latency,
    layered,
    layers,
    monitor,
    policies,
    reload,
    run,
    status,
    swap,
    top,
    trace,
)
from pyland.errors import UsageError
from pyland.output import printing

COMMANDS = {
    "run": run.command,
    "policies": policies.command,
    "status": status.command,
    "monitor": monitor.command,
    "latency": latency.command,
    "swap": swap.command,
    "layered": layered.command,
    "layers": layers.command,
    "top": top.command,
    "reload": reload.command,
    "trace": trace.command,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 (ended as asked), 1 (ended by a failure) or 2 (bad input)."""
    printing.prepare()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = "run"
    if arguments and arguments[0] in COMMANDS:
        command = arguments.pop(0)
    try:
        return COMMANDS[command](arguments)
    except UsageError as error:
        printing.say(f"pyland: {printing.escape(str(error))}", "stderr", printing.ERROR)
        return 2
    except KeyboardInterrupt:
        return 0
