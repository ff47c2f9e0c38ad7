# SPDX-License-Identifier: GPL-2.0-only
"""The loop of `pyland top`: look, draw, and do what the keys say."""

from __future__ import annotations

import time
from dataclasses import replace

from pyland.output.printing import escape
from pyland.top.control import Control, Told
from pyland.top.feed import Feed
from pyland.top.keys import MAY_SWAP, QUIT, SWAP, Choices, may_swap, press
from pyland.top.measure import Measure
from pyland.top.terminal import Terminal
from pyland.top.view import frame

_FIRST_S = 0.5
"""Seconds from the start to the first frame with rates, at most."""


def run(terminal: Terminal, feed: Feed, choices: Choices) -> None:
    """Show frames until the user quits, a signal ends it, or the terminal is gone."""
    measure, control = Measure(feed), Control(terminal.wake)
    seen = measure.look(choices)
    due_s = time.monotonic() + min(_FIRST_S, choices.interval_s)
    terminal.draw(frame(seen, choices, terminal.screen))
    while True:
        for key in terminal.keys(due_s):
            choices, wanted = press(key, choices)
            if wanted == QUIT:
                return
            choices = _do(wanted, control, choices)
        if terminal.ends:
            return
        if told := control.take():
            choices = _answered(told, choices)
        now_s = time.monotonic()
        if now_s >= due_s:
            if not choices.stopped:
                seen = measure.look(choices)
            due_s = max(due_s + choices.interval_s, time.monotonic() + choices.interval_s / 2)
        due_s = min(due_s, now_s + choices.interval_s)
        terminal.draw(frame(seen, choices, terminal.screen))


def _do(wanted: str, control: Control, choices: Choices) -> Choices:
    """Begin what a key wants; it takes its time, and the screen goes on."""
    begun = True
    if wanted == MAY_SWAP:
        begun = control.status()
    elif wanted == SWAP:
        begun = control.swap(choices.policy)
        choices = replace(choices, message=f"swapping to {choices.policy} ...")
    if not begun:
        return replace(choices, message="the last request has no answer yet")
    return choices


def _answered(told: Told, choices: Choices) -> Choices:
    if told.error:
        return replace(choices, message=f"{told.request}: {escape(told.error)}")
    if told.request == "status":
        # If the bottom line asks the user for something else by then, that goes on.
        return choices if choices.asks else may_swap(choices)
    answer = told.answer or {}
    paused = f"paused {answer.get('pause_us')} us"
    return replace(choices, message=f"{answer.get('previous')} -> {answer.get('policy')}, {paused}")
