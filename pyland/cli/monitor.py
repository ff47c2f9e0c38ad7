# SPDX-License-Identifier: GPL-2.0-only
"""`pyland monitor`: a row of statistics of the running pyland at each interval."""

import argparse
from collections.abc import Sequence

from pyland.cli.parser import Parser
from pyland.output.printing import say, show
from pyland.stats.monitor import Monitor
from pyland.stats.places import DEFAULT_PATH, Places


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland monitor`."""
    parser = Parser(
        prog="pyland monitor",
        description="Show rows of statistics of the running pyland, as its own --stats does. "
        "Waits for a pyland that does not run yet.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="the time between two rows (default %(default)g)",
    )
    add("--json", action="store_true", help="for programs: a JSON object a line, with all fields")
    add(
        "--policy-numbers",
        action="store_true",
        help="also a line with the policy's own gauges and counters",
    )
    add(
        "--stats-socket",
        default="",
        metavar="PATH",
        help=f"where pyland serves them (default {DEFAULT_PATH})",
    )
    return parser


def command(arguments: Sequence[str]) -> int:
    """Show rows until Ctrl-C, or until their reader has left; returns the exit code."""
    options = build_parser().parse_args(arguments)
    follow(
        Monitor(
            interval_s=options.interval,
            path=Places(options.stats_socket).stats_path or DEFAULT_PATH,
            json=options.json,
            policy_numbers=options.policy_numbers,
        )
    )
    return 0


def follow(monitor: Monitor) -> None:
    """Show what the monitor sees on standard output, and why it waits on standard error."""
    monitor.run(show, lambda line: say(line, "stderr"))
