# SPDX-License-Identifier: GPL-2.0-only
"""`pyland layers`: what each layer of the running pyland uses and has."""

from __future__ import annotations

from collections.abc import Sequence

from pyland.cli.arguments import add_interval, add_json
from pyland.cli.monitor import follow
from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket, stats_path
from pyland.output.printing import say, show
from pyland.stats.layers import LayersMonitor
from pyland.stats.places import Places


def build_parser() -> Parser:
    """The parser of the command line."""
    parser = Parser(
        prog="pyland layers",
        description="Show the layers of the running pyland, if its policy is layered: CPUs' worth "
        "of use, its part on other layers' CPUs, runnable weight and tasks, tasks that wait and "
        "how long the first has waited, decisions and migrations a second, CPUs.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_interval(parser, "blocks")
    add("--once", action="store_true", help="end after one block")
    add_json(parser, "a JSON object a line")
    add_stats_socket(parser)
    return parser


def command(arguments: Sequence[str]) -> int:
    """Show blocks of rows until Ctrl-C, or one with --once; returns the exit code."""
    options = build_parser().parse_args(arguments)
    monitor = LayersMonitor(
        interval_s=options.interval,
        path=stats_path(Places(options.stats_socket)),
        json=options.json,
    )
    if options.once:
        monitor.run(_only_once, lambda line: say(line, "stderr"))
    else:
        follow(monitor)
    return 0


def _only_once(text: str) -> bool:
    """Show the first block, and ask for no more."""
    show(text)
    return False
