# SPDX-License-Identifier: GPL-2.0-only
"""`pyland monitor`: a row of statistics of the running pyland at each interval."""

import argparse
from collections.abc import Sequence

from pyland.cli.arguments import add_interval, add_json
from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket, stats_path
from pyland.output.printing import say, show
from pyland.stats.monitor import Monitor
from pyland.stats.places import Places
from pyland.stats.table import COLUMNS


class _Parser(Parser):
    """Its help also tells what the columns mean."""

    def format_help(self) -> str:
        self.epilog = _columns()
        return super().format_help()


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland monitor`."""
    parser = _Parser(
        prog="pyland monitor",
        description="Show rows of statistics of the running pyland; waits until one runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_interval(parser, "rows")
    add_json(parser, "a JSON object a line, with all fields")
    add(
        "--policy-numbers",
        action="store_true",
        help="also lines with the policy's own gauges and counters, and its notes about tasks",
    )
    add_stats_socket(parser)
    return parser


def command(arguments: Sequence[str]) -> int:
    """Show rows until Ctrl-C, or until their reader has left; returns the exit code."""
    options = build_parser().parse_args(arguments)
    follow(
        Monitor(
            interval_s=options.interval,
            path=stats_path(Places(options.stats_socket)),
            json=options.json,
            policy_numbers=options.policy_numbers,
        )
    )
    return 0


def _columns() -> str:
    # Imported only here: it imports the native part. Rows and the build do without it.
    from pyland.stats.counters import COUNTERS

    known = {counter.name: counter for counter in COUNTERS}
    lines = ["columns, counted in each interval; run and held as they are at its end:"]
    for title, name in COLUMNS:
        lines.append(f"  {title:8} {known[name].unit} {known[name].meaning}")
    lines.append("  delay_us mean time from the question to the policy's decision")
    return "\n".join(lines)


def follow(monitor: Monitor) -> None:
    """Show what the monitor sees on standard output, and why it waits on standard error."""
    monitor.run(show, lambda line: say(line, "stderr"))
