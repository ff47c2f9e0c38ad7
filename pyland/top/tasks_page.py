# SPDX-License-Identifier: GPL-2.0-only
"""The first page: CPUs, domains, and the tasks that waited longest."""

from __future__ import annotations

from pyland.top.cpus import cpu_lines, domain_lines
from pyland.top.keys import Choices
from pyland.top.orders import chosen
from pyland.top.screen import Screen, summary
from pyland.top.seen import Seen
from pyland.top.tasks import TaskSeen
from pyland.top.text import (
    BAD,
    DIM,
    REVERSED,
    WARN,
    Line,
    Piece,
    clean,
    duration,
    fit,
    line,
    number,
    percent,
)

_WIDE = 120
"""From so many columns on there are the columns of process and cgroup."""
_LONG_S = 1.0
_MUCH = 0.5


def lines(seen: Seen, choices: Choices, screen: Screen) -> list[Line]:
    """The page; its tasks have all rows that are left."""
    found = summary(seen, screen)
    found += cpu_lines(seen.machine, Screen(screen.columns, screen.rows // 4, screen.encoding))
    found += domain_lines(seen.machine, max(screen.rows // 6, 2))
    tasks = chosen(seen.tasks, choices.sort, choices.process, choices.cgroup)
    found.append(_header(choices, screen))
    room = max(screen.rows - len(found) - 1, 1)
    first = min(choices.scrolled, max(len(tasks) - room, 0))
    shown = tasks[first : first + room]
    notes = seen.statistics.notes if seen.statistics else {}
    found += [_task(task, notes.get(task.tid, ""), screen) for task in shown]
    found += [()] * (room - len(shown))
    found.append(_count(seen, choices, len(tasks), first, len(shown), screen))
    return found


def _header(choices: Choices, screen: Screen) -> Line:
    titles = f"{'TASK':>8} S CPU  NI  CPU% WAIT%   MEAN    NOW RUNS/s "
    if screen.columns >= _WIDE:
        titles += f"{'PROCESS':>8} {fit('CGROUP', _cgroup_cells(screen))} "
    mark = f"COMMAND (sorted by {choices.sort})"
    return (Piece(fit(titles + mark, screen.columns), REVERSED),)


def _cgroup_cells(screen: Screen) -> int:
    return min(screen.columns // 4, 60)


def _task(task: TaskSeen, note: str, screen: Screen) -> Line:
    share, mean, waits = percent(task.wait_share), duration(task.mean_wait_ns), "-"
    style = WARN if task.wait_share >= _MUCH else ""
    if task.waits_s:
        waits, style = duration(task.waits_s * 1e9), BAD if task.waits_s >= _LONG_S else WARN
    name = clean(task.comm, screen.encoding)
    if task.process and task.process != task.comm:
        name += f" ({clean(task.process, screen.encoding)})"
    if task.decides:
        share, mean, waits, style = "-", "-", "-", ""
        name += ", which decides"
    if note:
        name += f": {clean(note, screen.encoding)}"
    end = " "
    if screen.columns >= _WIDE:
        cgroup = clean(task.cgroup, screen.encoding)
        end = f" {task.pid:8d} {fit(cgroup, _cgroup_cells(screen))} "
    return line(
        f"{task.tid:8d} {task.state} {task.cpu:3d} {task.nice:3d} {percent(task.cpu_share):>5} ",
        Piece(f"{share:>5} {mean:>6} {waits:>6}", style),
        f" {number(task.runs_per_s):>6}{end}{name}",
    )


def _count(
    seen: Seen, choices: Choices, nr_found: int, first: int, nr_shown: int, screen: Screen
) -> Line:
    """What of all tasks is shown, and by which filters."""
    filters = [
        f"{title} {clean(value, screen.encoding)!r}"
        for title, value in (("process", choices.process), ("cgroup", choices.cgroup))
        if value
    ]
    kind = f"of {' and '.join(filters)} (Esc: all)" if filters else "ran or waited"
    told = f"{nr_found} tasks {kind}"
    if nr_shown < nr_found:
        told += f", {first + 1} to {first + nr_shown} shown"
    return line(Piece(f"{told}; {_read_of_all(seen)}", DIM))


def _read_of_all(seen: Seen) -> str:
    """Whether tasks may be missing, or have figures of an earlier interval."""
    if not seen.knows_all:
        return f"partial: {seen.nr_tasks} found so far"
    if seen.nr_read < seen.nr_tasks:
        return f"partial: {seen.nr_read} of {seen.nr_tasks} read in this interval"
    return f"all {seen.nr_tasks} read"
