# SPDX-License-Identifier: GPL-2.0-only
"""`pyland top`: a full-screen view of what waits, what runs, and what decides it."""

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress

from pyland.cli.arguments import add_interval
from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket, stats_path
from pyland.errors import UsageError
from pyland.stats.client import Client, NoServerError
from pyland.stats.places import Places

INTERVAL_MIN_S, INTERVAL_MAX_S = 0.5, 60.0


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland top`."""
    from pyland.top.orders import SORTS

    parser = Parser(
        prog="pyland top",
        description="A full-screen view of the machine and of the running pyland: CPUs, domains, "
        "decisions, latency, and the tasks that waited longest. `h` shows the keys. Waits for a "
        "pyland that does not run yet.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_interval(parser, "frames")
    add(
        "--sort",
        choices=SORTS,
        default=next(iter(SORTS)),
        help="the order of the tasks (default %(default)s)",
    )
    add("--process", default="", metavar="WORD", help="only tasks of this process: number or name")
    add(
        "--cgroup", default="", metavar="WORD", help="only tasks of cgroups with this in their path"
    )
    add_stats_socket(parser)
    return parser


def command(arguments: Sequence[str]) -> int:
    """Show frames until the user quits; returns the exit code."""
    # Imported only here: the process that decides keeps all that it imports locked in memory.
    from pyland.top import app, terminal
    from pyland.top.feed import Feed
    from pyland.top.keys import Choices

    options = build_parser().parse_args(arguments)
    if not INTERVAL_MIN_S <= options.interval <= INTERVAL_MAX_S:
        raise UsageError(
            f"--interval {options.interval:g}: it takes {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g} "
            "seconds"
        )
    path = stats_path(Places(options.stats_socket))
    terminal.check(os.environ.get("TERM", ""))
    with suppress(NoServerError):  # the screen says so, and waits for one
        Client(path, timeout_s=1).close()
    feed = Feed(path)
    feed.start()
    choices = Choices(
        interval_s=options.interval,
        sort=options.sort,
        process=options.process,
        cgroup=options.cgroup,
    )
    with terminal.Terminal() as screen:
        app.run(screen, feed, choices)
    feed.stop()
    return 0
