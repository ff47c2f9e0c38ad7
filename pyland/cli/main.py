# SPDX-License-Identifier: GPL-2.0-only
"""The `pyland` command."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from pyland.errors import ScheduleError, UsageError
from pyland.kernel.settings import Settings
from pyland.policies.deadline import Deadline

_DEFAULTS = Settings()


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, instead of the usage and a line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see pyland --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland`; short options are scx_rustland's."""
    parser = _Parser(
        prog="pyland",
        description="Schedule this machine's CPUs from Python, through sched_ext.",
        epilog="Ctrl-C or SIGTERM gives the machine back to the kernel's default scheduler.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-s",
        "--slice-us",
        type=int,
        default=_DEFAULTS.slice_us,
        metavar="US",
        help="longest slice: what a task gets when nobody waits for its CPU, and the credit of a "
        "task that slept; weight scales it (default %(default)s; scx_rustland's -s is the credit "
        "alone)",
    )
    add(
        "-S",
        "--slice-us-min",
        type=int,
        default=_DEFAULTS.slice_us_min,
        metavar="US",
        help="shortest slice: what a task gets when many wait (default %(default)s)",
    )
    add(
        "-l",
        "--percpu-local",
        action="store_true",
        help="keep a task on the CPU where it ran last instead of the first that is free",
    )
    add(
        "-n",
        "--numa-local",
        action="store_true",
        help="look for an idle CPU in the task's NUMA node first (Linux 6.15 or later)",
    )
    add(
        "-p",
        "--partial",
        action="store_true",
        help="schedule only tasks of the SCHED_EXT class, leave all others to the default",
    )
    add(
        "--lag-us",
        type=int,
        default=_DEFAULTS.lag_us,
        metavar="US",
        help="a task that waited so long for Python is dispatched without it (default %(default)s)",
    )
    add(
        "--exit-dump-len",
        type=int,
        default=_DEFAULTS.exit_dump_len,
        metavar="BYTES",
        help="room for the kernel's debug dump when it ends the scheduler (default: the kernel's)",
    )
    add(
        "--stats",
        type=float,
        default=0,
        metavar="SECONDS",
        help="print a row of statistics at this interval",
    )
    add("-v", "--verbose", action="store_true", help="show libbpf's and the verifier's log")
    add(
        "-V",
        "--version",
        action="store_true",
        help="show the version and exit",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code (0 as asked, 1 ended by the kernel, 2 bad input)."""
    try:
        options = build_parser().parse_args(argv)
        if options.version:
            # Only here: it imports as much as all the rest together.
            from importlib.metadata import version

            print(f"pyland {version('pyland')}")
            return 0
        settings = Settings(
            slice_us=options.slice_us,
            slice_us_min=options.slice_us_min,
            lag_us=options.lag_us,
            percpu_local=options.percpu_local,
            numa_local=options.numa_local,
            partial=options.partial,
            exit_dump_len=options.exit_dump_len,
            stats_s=options.stats,
            verbose=options.verbose,
        )
        return _schedule(settings)
    except UsageError as error:
        print(f"pyland: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _schedule(settings: Settings) -> int:
    # The native part is loaded only here: --help and a wrong value need no root, no
    # kernel and no library.
    from pyland.kernel import checks

    checks.check_machine()
    from pyland.kernel.session import Session

    session = Session(settings, Deadline)
    try:
        end, code = session.run(), 0
    except ScheduleError as error:
        end, code = str(error), 1
    first, _, dump = end.partition("\n")
    if dump:
        print(dump, file=sys.stderr)
    print(f"pyland: ended: {first}")
    for name, value in session.totals().items():
        print(f"  {name} {value}")
    return code
