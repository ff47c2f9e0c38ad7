# SPDX-License-Identifier: GPL-2.0-only
"""`pyland run`, or `pyland` alone: schedule this machine."""

import argparse
from collections.abc import Mapping, Sequence

from pyland.cli.arguments import add_policy
from pyland.cli.parser import Parser, as_policies_run, shown
from pyland.cli.stats_socket import stats_path
from pyland.errors import ScheduleError
from pyland.loading.folder import current_folder
from pyland.loading.wanted import Wanted
from pyland.output import printing
from pyland.stats.places import DEFAULT_PATH, Places
from pyland.supervisor.settings import Settings

DEFAULT_POLICY = "deadline"
_DEFAULTS = Settings()


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland`; short options are scx_rustland's."""
    parser = Parser(
        prog="pyland",
        description="Schedule this machine's CPUs from Python, through sched_ext.",
        epilog="Ctrl-C or SIGTERM gives the machine back to the kernel's default scheduler. "
        "`pyland run` is the same command. Others: `pyland policies` lists the policies, "
        "`pyland swap` changes the running one, `pyland reload` reads its files again, `pyland "
        "status` shows its state, `pyland monitor` shows its statistics, `pyland latency` how long "
        "tasks wait, `pyland trace` records what happens. Each has a --help.",
        allow_abbrev=False,
    )
    add_policy(
        parser,
        DEFAULT_POLICY,
        "the policy: a name of `pyland policies`, module:Class or ./file.py:Class "
        "(default %(default)s)",
    )
    add = parser.add_argument
    add(
        "--help-policy",
        action="store_true",
        help="show what the policy does and which options it has, and exit",
    )
    add(
        "--strict",
        action="store_true",
        help="end when the policy fails, instead of going on without its decision",
    )
    add(
        "-s",
        "--slice-us",
        type=int,
        default=_DEFAULTS.slice_us,
        metavar="US",
        help="longest slice: while no task waits for the CPU; also the credit of a "
        "task that slept; weight scales it (default %(default)s; scx_rustland's -s is the credit "
        "alone)",
    )
    add(
        "-S",
        "--slice-us-min",
        type=int,
        default=_DEFAULTS.slice_us_min,
        metavar="US",
        help="shortest slice: while many tasks wait (default %(default)s)",
    )
    add(
        "-l",
        "--percpu-local",
        action="store_true",
        help="keep a task on the CPU where it ran last instead of the first that is free: the "
        "policy's option percpu_local",
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
        "--no-cgroup-weights",
        action="store_true",
        help="weigh every task by its nice value alone, not also by the cpu.weight of its cgroup "
        "or by its session's autogroup",
    )
    add(
        "--lag-us",
        type=int,
        default=_DEFAULTS.lag_us,
        metavar="US",
        help="a task held for this long by Python runs without a decision (default %(default)s)",
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
    add(
        "--policy-numbers",
        action="store_true",
        help="with --stats: also a line with the policy's own gauges and counters",
    )
    add(
        "--monitor",
        type=float,
        metavar="SECONDS",
        help="schedule nothing: show the statistics of the pyland that runs, as `pyland monitor`",
    )
    _add_places(parser)
    add(
        "--user",
        default="",
        metavar="USER",
        help="the user that the policy runs as, by name or number (default: the user who called "
        "sudo, doas or pkexec; nobody if root started pyland)",
    )
    add(
        "--allow-processes",
        action="store_true",
        help="let the policy start other processes; they end with pyland",
    )
    add("-v", "--verbose", action="store_true", help="show libbpf's and the verifier's log")
    add(
        "-V",
        "--version",
        action="store_true",
        help="show the version and exit",
    )
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where statistics are served."""
    add = parser.add_argument
    add(
        "--stats-socket",
        default="",
        metavar="PATH",
        help="serve statistics, in the protocol of scx_stats, at this socket, or at `none` "
        f"(default {DEFAULT_PATH}, if it can be made)",
    )
    add(
        "--stats-mode",
        default="",
        metavar="MODE",
        help="the mode of the sockets that serve statistics (default 600: root alone; 660 with a "
        "group)",
    )
    add("--stats-group", default="", metavar="GROUP", help="their group, by name or number")
    add(
        "--metrics",
        default="",
        metavar="[ADDRESS:]PORT|PATH",
        help="serve OpenMetrics for Prometheus over HTTP at this port (of 127.0.0.1 without an "
        "address), or at a socket's path",
    )
    add(
        "--histograms",
        action="store_true",
        help="with --metrics: also the histograms by class; they are kept all the time then, which "
        "costs time at each switch",
    )


def command(arguments: Sequence[str]) -> int:
    """Schedule, or show the version or the policy; returns the exit code."""
    options = build_parser().parse_args(arguments)
    if options.version:
        # Imported only here: the build makes the manual from this file before `_layout` exists.
        from pyland._layout import VERSION

        printing.show(f"pyland {VERSION}")
        return 0
    places = Places(options.stats_socket, options.stats_mode, options.stats_group, options.metrics)
    if options.monitor is not None:
        # `pyland monitor` under another name; a start needs none of it.
        from pyland.cli.monitor import follow
        from pyland.stats.monitor import Monitor

        path = stats_path(places)
        numbers = options.policy_numbers
        follow(Monitor(options.monitor, path, policy_numbers=numbers, option="--monitor"))
        return 0
    given = list(options.policy_opt)
    if options.percpu_local:
        given.append("percpu_local=yes")
    wanted = Wanted(options.policy, tuple(given), str(current_folder(options.policy)))
    if options.help_policy:
        return _help_policy(wanted)
    settings = Settings(
        slice_us=options.slice_us,
        slice_us_min=options.slice_us_min,
        lag_us=options.lag_us,
        numa_local=options.numa_local,
        partial=options.partial,
        cgroup_weights=not options.no_cgroup_weights,
        exit_dump_len=options.exit_dump_len,
        stats_s=options.stats,
        policy_numbers=options.policy_numbers,
        histograms=options.histograms,
        strict=options.strict,
        user=options.user,
        allow_processes=options.allow_processes,
        verbose=options.verbose,
        places=places,
    )
    return _schedule(settings, wanted)


def _help_policy(wanted: Wanted) -> int:
    # Imported only here: it takes as long as all other imports of a start, which needs none of it.
    import inspect

    def described() -> str:
        policy = wanted.choose().policy
        about = inspect.cleandoc(policy.__doc__ or "its author says nothing")
        lines = [f"{policy.name}: {about}", ""]
        lines.append("options (--policy-opt NAME=VALUE):" if policy.options else "no options")
        for name, one in policy.options.items():
            lines.append(f"  {name}: {shown(one.takes)} (default {shown(one.default)})")
            lines.append(f"      {shown(one.help)}")
        return "\n".join(lines)

    printing.show(as_policies_run(described))
    return 0


def _schedule(settings: Settings, wanted: Wanted) -> int:
    # The native part is loaded only here: --help and wrong values need no root, kernel or
    # library.
    from pyland.host import checks

    checks.check_machine()
    from pyland.host.compaction import Compaction
    from pyland.supervisor.service import Service
    from pyland.supervisor.session import Session

    service = Service.of_this_process()
    printing.go_on_in_the_background()
    Compaction.of_this_process().put_back_in_any_case()
    session = Session(settings, wanted, service)
    try:
        end, code = session.run(), 0
    except ScheduleError as error:
        end, code = str(error), 1
        if error.dump:
            printing.say(printing.block(f"pyland: the kernel's dump:\n{error.dump}"), "stderr")
    service.stopping(f"ended: {end}")
    _tell_end(f"pyland: ended: {printing.escape(end)}", session.totals(), code)
    return code


def _tell_end(line: str, totals: Mapping[str, int], code: int) -> None:
    """Print why it ended, and the totals; the journal has one line of each."""
    if printing.is_journal():
        printing.say(line, level=printing.ERROR if code else printing.INFO)
        told = ", ".join(f"{name} {value}" for name, value in totals.items())
        printing.say(f"pyland: totals: {told}", level=printing.DEBUG)
    else:
        printing.say("\n".join([line, *(f"  {name} {value}" for name, value in totals.items())]))
