# SPDX-License-Identifier: GPL-2.0-only
"""`pyland monitor`: a row of statistics of the running pyland at each interval."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence

from pyland.cli.parser import Parser
from pyland.output.printing import say, show
from pyland.stats.counters import COUNTERS
from pyland.stats.monitor import Monitor
from pyland.stats.places import DEFAULT_PATH, Places
from pyland.stats.table import COLUMNS


def command(arguments: Sequence[str]) -> int:
    """Show rows until Ctrl-C, or until their reader has left; returns the exit code."""
    parser = Parser(
        prog="pyland monitor",
        description="Show rows of statistics of the running pyland, as its own --stats does.\n"
        "Waits for a pyland that does not run yet.",
        epilog=_columns(),
        formatter_class=RawDescriptionHelpFormatter,
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
    options = parser.parse_args(arguments)
    follow(
        Monitor(
            interval_s=options.interval,
            path=Places(options.stats_socket).stats_path or DEFAULT_PATH,
            json=options.json,
            policy_numbers=options.policy_numbers,
        )
    )
    return 0


def _columns() -> str:
    """What the columns mean: a reader of rows asks here first."""
    known = {counter.name: counter for counter in COUNTERS}
    lines = ["columns, counted in each interval; run and held as they are at its end:"]
    for title, name in COLUMNS:
        lines.append(f"  {title:8} {known[name].unit} {known[name].meaning}")
    lines.append("  delay_us mean time from the question to the policy's decision")
    return "\n".join(lines)


def follow(monitor: Monitor) -> None:
    """Show what the monitor sees on standard output, and why it waits on standard error."""
    monitor.run(show, lambda line: say(line, "stderr"))
