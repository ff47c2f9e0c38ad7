# SPDX-License-Identifier: GPL-2.0-only
"""`pyland latency`: histograms of how long the tasks of the running pyland wait and run."""

import argparse
import os
from collections.abc import Sequence

from pyland.cli.arguments import add_json
from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket, stats_path
from pyland.errors import UsageError
from pyland.output.printing import say, show
from pyland.stats.distribution import MEASURES, By
from pyland.stats.latency import Latency
from pyland.stats.places import Places


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
    add_json(parser, "a JSON object with all of them")
    add(
        "--hardware",
        action="store_true",
        help="instead: cycles, instructions and cache misses for each class of the policy, by the "
        "hardware's counters, sampled (needs root, and a machine that has them)",
    )
    add_stats_socket(parser)
    return parser


def _hardware(latency: Latency) -> str:
    """What the hardware counted; raises UsageError."""
    if os.geteuid():
        raise UsageError("--hardware reads counters of all users' tasks, and needs root: use sudo")
    # The native part is loaded only here: histograms need no library.
    from pyland.stats.hardware import class_names, look
    from pyland.topology import read_topology

    nr_cpus = read_topology().nr_cpu_ids
    names = class_names(latency.path)
    return look(nr_cpus, latency.seconds, names, json=latency.json)


def command(arguments: Sequence[str]) -> int:
    """Look for some seconds, and print the histograms; returns the exit code."""
    options = build_parser().parse_args(arguments)
    path = stats_path(Places(options.stats_socket))
    latency = Latency(
        seconds=options.seconds,
        by=By(options.by) if options.by else None,
        of=options.of or "",
        json=options.json,
        path=path,
    )
    if options.hardware:
        if options.by or options.of:
            raise UsageError("--hardware counts by class: --by and --of are for histograms")
        show(_hardware(latency))
        return 0
    show(latency.look(lambda line: say(line, "stderr")))
    return 0
