# SPDX-License-Identifier: GPL-2.0-only
"""What each key does: from the present choices to the next, and to what the program has to do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pyland.policies import BUILTINS
from pyland.top.orders import SORTS

NR_PAGES = 3
LATENCY_PAGE = 2
"""The page that shows histograms, which are kept only while a client looks."""
PAGE_STEP = 10
TEXT_MAX = 200

PROCESS, CGROUP, POLICY, SURE = "process", "cgroup", "policy", "sure"
"""What a line at the bottom asks for: a filter, the new policy, or a yes."""

HELP = (
    ("1 2 3 Tab", "the page: tasks, counters, latency"),
    ("w m c r n", "sort by waiting, mean wait, CPU, runs, number of the task"),
    ("/", "only tasks of a process: a number, or a part of a name"),
    ("g", "only tasks of a cgroup: a part of its path"),
    ("Esc", "without filters; leaves a question, or this help"),
    ("Up Down PgUp PgDn", "scroll"),
    ("Space", "stop and go on; nothing is measured meanwhile"),
    ("+ -", "a longer or shorter interval"),
    ("p", "swap the policy: asks which, and asks again"),
    ("h ?", "this help"),
    ("q", "quit; Ctrl-C does, too; Ctrl-Z goes to the shell, fg comes back"),
)
"""Keys, and their meaning."""

_SORT_KEYS = dict(zip("wmcrn", SORTS, strict=True))
_INTERVALS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user has chosen; `interval_s` is the time between two frames."""

    interval_s: float = 1.0
    page: int = 0
    sort: str = next(iter(SORTS))
    process: str = ""
    cgroup: str = ""
    scrolled: int = 0
    """Lines above the first that is shown."""
    stopped: bool = False
    help: bool = False
    asks: str = ""
    """What the line at the bottom asks for; empty if it shows the keys."""
    text: str = ""
    """What was typed so far."""
    policy: str = ""
    """The policy to swap to, while the question is if the user is sure."""
    message: str = ""
    """Shown at the bottom until the next key; not escaped."""


QUIT, MAY_SWAP, SWAP = "quit", "may swap", "swap"
"""What the program has to do: end, ask if this user may swap, swap to `Choices.policy`."""


def press(key: str, now: Choices) -> tuple[Choices, str]:
    """The next choices, and what the program has to do; an empty text for nothing.

    `key` is a character, or one of enter, escape, backspace, up, down, page up, page down, tab.
    """
    now = replace(now, message="")
    if now.asks == SURE:
        sure = key in ("y", "Y")
        return replace(now, asks="", text=""), SWAP if sure else ""
    if now.asks:
        return _typed(key, now), ""
    match key:
        case "q" | "Q":
            return now, QUIT
        case "p":
            return now, MAY_SWAP
        case "h" | "?":
            return replace(now, help=not now.help), ""
        case "escape":
            if now.help:
                return replace(now, help=False), ""
            return replace(now, process="", cgroup="", scrolled=0), ""
        case "/":
            return replace(now, asks=PROCESS, text=now.process, help=False), ""
        case "g":
            return replace(now, asks=CGROUP, text=now.cgroup, help=False), ""
        case " ":
            return replace(now, stopped=not now.stopped), ""
        case "+" | "=" | "-":
            return replace(now, interval_s=_interval_s(now.interval_s, longer=key != "-")), ""
        case "up" | "down" | "page up" | "page down":
            step = PAGE_STEP if "page" in key else 1
            step = -step if "up" in key else step
            return replace(now, scrolled=max(now.scrolled + step, 0)), ""
        case "tab":
            return _page(now, (now.page + 1) % NR_PAGES), ""
    if key in _SORT_KEYS:
        return replace(now, sort=_SORT_KEYS[key], scrolled=0), ""
    if key.isascii() and key.isdecimal() and 1 <= int(key) <= NR_PAGES:
        return _page(now, int(key) - 1), ""
    return now, ""


def may_swap(now: Choices) -> Choices:
    """Ask for the new policy: this user may swap."""
    return replace(now, asks=POLICY, text="", help=False)


def _page(now: Choices, page: int) -> Choices:
    return replace(now, page=page, scrolled=0, help=False)


def _typed(key: str, now: Choices) -> Choices:
    match key:
        case "escape":
            return replace(now, asks="", text="")
        case "backspace":
            return replace(now, text=now.text[:-1])
        case "enter":
            return _entered(now)
        case "tab" if now.asks == POLICY:
            return replace(now, text=_completed(now.text))
    if len(key) == 1 and key.isprintable() and len(now.text) < TEXT_MAX:
        return replace(now, text=now.text + key)
    return now


def _entered(now: Choices) -> Choices:
    text = now.text.strip()
    done = replace(now, asks="", text="", scrolled=0)
    match now.asks:
        case "process":
            return replace(done, process=text)
        case "cgroup":
            return replace(done, cgroup=text)
        case _:
            return replace(done, asks=SURE, policy=text) if text else done


def _completed(text: str) -> str:
    """The first built-in that begins with the text; for a whole name, the next built-in."""
    names = list(BUILTINS)
    if text in names:
        return names[(names.index(text) + 1) % len(names)]
    found = [name for name in names if name.startswith(text)]
    return found[0] if found else text


def _interval_s(interval_s: float, *, longer: bool) -> float:
    """The next interval of the list, or the same one at its end."""
    found = (
        [one for one in _INTERVALS_S if one > interval_s]
        if longer
        else [one for one in reversed(_INTERVALS_S) if one < interval_s]
    )
    return found[0] if found else interval_s
