# SPDX-License-Identifier: GPL-2.0-only
"""The lines of a frame for a size. A pure function: nothing is read, nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyland.top import counters_page, latency_page, tasks_page
from pyland.top.keys import CGROUP, HELP, NR_PAGES, POLICY, PROCESS, SURE, Choices
from pyland.top.screen import Screen
from pyland.top.seen import Seen
from pyland.top.text import (
    BOLD,
    DIM,
    REVERSED,
    WARN,
    Line,
    Piece,
    clean,
    cut,
    cut_line,
    fit,
    line,
    memory,
    width,
)

COLUMNS_MIN, ROWS_MIN = 60, 16
"""The smallest screen that has room for a page."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its title and its lines between the first and the last line of the screen."""

    title: str
    lines: Callable[[Seen, Choices, Screen], list[Line]]


PAGES = (
    Page("tasks", tasks_page.lines),
    Page("counters", counters_page.lines),
    Page("latency", latency_page.lines),
)
"""All pages, in the order of their keys."""
assert len(PAGES) == NR_PAGES


def frame(seen: Seen, choices: Choices, screen: Screen) -> list[Line]:
    """As many lines as the screen has rows, none wider than it."""
    if screen.columns < COLUMNS_MIN or screen.rows < ROWS_MIN:
        told = f"{screen.columns}x{screen.rows} is too small: {COLUMNS_MIN}x{ROWS_MIN} or more"
        return [line(cut(told, screen.columns)), *[()] * (screen.rows - 1)]
    inner = Screen(screen.columns, screen.rows - 2, screen.encoding)
    body = _help() if choices.help else PAGES[choices.page].lines(seen, choices, inner)
    body = [*body, *[()] * inner.rows][: inner.rows]
    lines = [_first(seen, choices, screen), *body, _last(choices, screen)]
    return [cut_line(one, screen.columns) for one in lines]


def _first(seen: Seen, choices: Choices, screen: Screen) -> Line:
    machine, found = seen.machine, seen.statistics
    none = f"no pyland ({seen.scheduler})" if seen.scheduler else "no pyland"
    if seen.scheduler.startswith("pyland"):
        none = "pyland"
    policy = clean(found.policy if found else none, screen.encoding)
    begin = line(
        Piece("pyland ", BOLD),
        Piece(cut(policy, 24), BOLD if found else WARN),
        f"  {len(machine.cpus)} CPUs  load {' '.join(f'{one:.2f}' for one in machine.load)}",
        f"  mem {memory(machine.memory_used)}/{memory(machine.memory_total)}",
    )
    if machine.swap_total and (machine.swap_used or screen.columns >= 100):
        begin += line(f"  swap {memory(machine.swap_used)}/{memory(machine.swap_total)}")
    if choices.stopped:
        begin += (Piece("  stopped", WARN),)
    end = f"{seen.time} every {choices.interval_s:g}s" if screen.columns >= 100 else seen.time
    room = screen.columns - sum(width(piece.text) for piece in begin) - 1
    return begin + line(fit(f" {end}", room, right=True)) if room > len(end) else begin


def _last(choices: Choices, screen: Screen) -> Line:
    typed = clean(choices.text, screen.encoding)
    match choices.asks:
        case "":
            pass
        case question if question == SURE:
            policy = clean(choices.policy, screen.encoding)
            return _question(f"swap to {policy}? y for yes, any other key for no", screen)
        case question:
            asked = {
                PROCESS: "process (number or part of a name): ",
                CGROUP: "cgroup (part of a path): ",
                POLICY: "new policy [NAME=VALUE ...], Tab for the built-in ones: ",
            }[question]
            room = max(screen.columns - len(asked) - 2, 1)
            while width(typed) > room:
                typed = typed[1:]
            return _question(f"{asked}{typed}_", screen)
    if choices.message:
        return (Piece(fit(clean(choices.message, screen.encoding), screen.columns), WARN),)
    titles = [f"{number} {page.title}" for number, page in enumerate(PAGES, 1)]
    titles[choices.page] = f"[{titles[choices.page]}]"
    keys = f"{' '.join(titles)}  sort wmcrn  / process  g cgroup  p swap  h help"
    if len(keys) + 8 <= screen.columns:
        keys += "  q quit"
    return (Piece(fit(keys, screen.columns), REVERSED),)


def _question(text: str, screen: Screen) -> Line:
    return (Piece(fit(text, screen.columns), BOLD),)


def _help() -> list[Line]:
    found = [line(Piece("Keys", BOLD)), ()]
    found += [line(f"  {keys:18}", Piece(meaning)) for keys, meaning in HELP]
    found += [
        (),
        line(Piece("WAIT% is the part of the time in which a task could run and had no CPU;", DIM)),
        line(Piece("MEAN the wait before each run; NOW how long it has waited already.", DIM)),
    ]
    return found
