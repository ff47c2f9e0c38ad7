# SPDX-License-Identifier: GPL-2.0-only
"""What the keys of `pyland top` do."""

from __future__ import annotations

from pyland.top import text
from pyland.top.keys import MAY_SWAP, NR_PAGES, QUIT, SURE, SWAP, Choices, may_swap, press
from pyland.top.screen import Screen
from pyland.top.seen import Seen
from pyland.top.view import frame


def test_keys_choose() -> None:
    now = Choices()
    assert press("c", now)[0].sort == "cpu"
    assert press("2", now)[0].page == 1
    assert press("tab", Choices(page=NR_PAGES - 1))[0].page == 0
    assert press("down", now)[0].scrolled == 1
    assert press("up", now)[0].scrolled == 0
    assert press(" ", now)[0].stopped
    assert press("-", now)[0].interval_s == 0.5
    assert press("+", Choices(interval_s=60.0))[0].interval_s == 60.0
    assert press("h", now)[0].help
    assert press("q", now) == (now, QUIT)
    assert press("unknown", now) == (now, "")
    assert press("\u4e2d", now) == (now, "")


def typed(keys: str, now: Choices) -> Choices:
    for key in keys:
        now = press(key, now)[0]
    return now


def test_a_filter_is_typed() -> None:
    now = typed("/hoq", Choices())
    now = press("g", press("backspace", now)[0])[0]
    now = press("enter", now)[0]
    assert (now.process, now.asks) == ("hog", "")
    assert press("escape", press("/", now)[0])[0].process == "hog"
    assert press("escape", now)[0].process == ""


def test_a_swap_asks_twice() -> None:
    now, wanted = press("p", Choices())
    assert (now.asks, wanted) == ("", MAY_SWAP)
    now = typed("vt", may_swap(now))
    now = press("tab", now)[0]
    assert now.text == "vtime"
    now, wanted = press("enter", now)
    assert (now.asks, now.policy, wanted) == (SURE, "vtime", "")
    assert "swap to vtime? y for yes" in text.plain(frame(Seen(), now, Screen(80, 24))[-1])
    assert press("y", now)[1] == SWAP
    for key in ("n", "enter", "escape", " "):
        after, wanted = press(key, now)
        assert (after.asks, wanted) == ("", "")
    assert press("enter", may_swap(Choices()))[0].asks == ""
