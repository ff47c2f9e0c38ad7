# SPDX-License-Identifier: GPL-2.0-only
"""`pyland trace`: what happened, as a Perfetto trace."""

import argparse
import os
from collections.abc import Sequence

from pyland.cli.parser import Parser
from pyland.cli.stats_socket import add_stats_socket, stats_path
from pyland.errors import ScheduleError, UsageError
from pyland.output.printing import say
from pyland.stats.places import Places
from pyland.trace.options import RING_BYTES, Options, When, parse_size


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland trace`."""
    parser = Parser(
        prog="pyland trace",
        description="Record what the running pyland does: which task runs where and why, what "
        "woke it up, and what the policy decided. The file opens in the Perfetto UI "
        "(ui.perfetto.dev).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-o", "--output", required=True, metavar="FILE", help="the file, such as pyland.pftrace")
    add(
        "--seconds",
        type=float,
        metavar="N",
        help="end after so many seconds (default: at Ctrl-C); with --when, so many seconds after "
        "that (default 5)",
    )
    add(
        "--ring",
        default="",
        metavar="SIZE",
        help="memory for events that are not in the file yet, for all CPUs together, such as 64M "
        f"(default {RING_BYTES >> 20}M); with --when, the same again for the past",
    )
    add(
        "--when",
        default="",
        metavar="LATENCY",
        help="write nothing until the wakeup latency of the last second is above a limit, such as "
        "'p99>5ms'; then also what happened before (p50, p90, p99, p99.9 or max; us, ms or s)",
    )
    add_stats_socket(parser)
    return parser


def command(arguments: Sequence[str]) -> int:
    """Record a trace of the running pyland; returns the exit code."""
    options = build_parser().parse_args(arguments)
    wanted = Options(
        file=options.output,
        seconds=options.seconds,
        ring_bytes=parse_size(options.ring) if options.ring else RING_BYTES,
        when=When.parse(options.when) if options.when else None,
        stats_path=stats_path(Places(options.stats_socket)),
    )
    if os.geteuid():
        raise UsageError("a trace shows all users' tasks, and needs root: run it with sudo")
    # The native part is loaded only here: --help and wrong values need no library.
    from pyland.trace.recorder import Recorder

    try:
        Recorder(wanted, lambda line: say(line, "stderr")).run()
    except ScheduleError as error:
        say(f"pyland: {error}", "stderr")
        return 1
    return 0
