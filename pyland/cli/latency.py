# SPDX-License-Identifier: GPL-2.0-only
"""`pyland latency`: histograms of how long the tasks of the running pyland wait and run."""

import argparse
from collections.abc import Sequence

from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket
from pyland.output.printing import show
from pyland.stats.distribution import MEASURES, By
from pyland.stats.latency import Latency
from pyland.stats.places import DEFAULT_PATH, Places


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland latency`."""
    parser = Parser(
        prog="pyland latency",
        description="Show how long tasks wait and run under the running pyland: histograms with "
        "logarithmic buckets, printed as bpftrace prints its hist(). pyland keeps them only while "
        "this command looks. Ctrl-C ends it before the time, and shows what there is.",
        epilog=" ".join(f"{one.title}: {one.meaning}." for one in MEASURES),
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--seconds",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how long to look (default %(default)g)",
    )
    add(
        "--by",
        choices=[by.value for by in By],
        metavar="|".join(by.value for by in By),
        help="a histogram for each: class of the policy, cgroup, name of the thread (comm), or "
        "queue that the task came from",
    )
    add(
        "--of",
        choices=[one.name for one in MEASURES],
        metavar="|".join(one.name for one in MEASURES),
        help="show only this histogram (default: all; with --by, wakeup)",
    )
    add("--json", action="store_true", help="for programs: a JSON object with all of them")
    add_stats_socket(parser)
    return parser


def command(arguments: Sequence[str]) -> int:
    """Look for some seconds, and print the histograms; returns the exit code."""
    options = build_parser().parse_args(arguments)
    latency = Latency(
        seconds=options.seconds,
        by=By(options.by) if options.by else None,
        of=options.of or "",
        json=options.json,
        path=Places(options.stats_socket).stats_path or DEFAULT_PATH,
    )
    show(latency.look())
    return 0
