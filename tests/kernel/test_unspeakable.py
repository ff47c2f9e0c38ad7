# SPDX-License-Identifier: GPL-2.0-only
"""A failure that cannot be printed is counted like others, and reported as far as possible."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.kernel.harness import Record, Start, ask, swap, undisturbed
from tools.load.programs import Hogs
from tools.load.scheduler import until

pytestmark = [pytest.mark.counted, pytest.mark.long]

UNSPEAKABLE = Path(__file__).with_name("unspeakable.py")

TOLD = {
    "RaisesSilent": "decide() raised Silent: (its message raised ValueError)",
    "RaisesEndless": "decide() raised Endless: (its message took longer than 1 s)",
    "RaisesSleepy": "decide() raised Sleepy: yes, (a note took longer than 1 s)",
    "RaisesForged": r"decide() raised Forged: \x1b[2J\npyland: ended",
    "DecidesHuge": "has vtime_ns = an integer of 100001 bits: it takes an integer from 0",
    "DecidesNumber": "has vtime_ns = (its repr() took longer than 1 s): it takes an integer",
    "Recurses": "decide() raised RecursionError: maximum recursion depth exceeded",
    "Lingers": "decide() raised ValueError: it has an object",
}


def test_it_is_told_and_the_policy_is_replaced(start: Start, record: Record) -> None:
    """The report comes within seconds; the same worker schedules all the time."""
    scheduler = start()
    worker = ask("status")["process"]["pid"]
    failed = []
    with undisturbed(scheduler), Hogs(600, [0] * 4):
        for kind, words in TOLD.items():
            begin_s = time.monotonic()
            assert swap(policy=f"{UNSPEAKABLE}:{kind}")["policy"] == kind.lower()
            while ask("status")["policy"] != "deadline" and time.monotonic() - begin_s < 40:
                time.sleep(0.2)
            record(**{kind: time.monotonic() - begin_s})
            said = until(lambda words=words: words in scheduler.output, 10) is not None  # type: ignore[misc]
            if not said:
                failed.append(f"{kind}: it does not say {words!r}")
            if ask("status")["policy"] != "deadline":
                failed.append(f"{kind}: it was not replaced")
                swap(policy="deadline")
        swap(policy=f"{UNSPEAKABLE}:Chats")
        time.sleep(2)
        decided = ask("status")["counters"]["user_dispatched"]
        time.sleep(1)
        assert ask("status")["counters"]["user_dispatched"] > decided
        assert ask("status")["policy"] == "chats"
        with pytest.raises(AssertionError, match=r"Endless: \(its message took longer than 1 s\)"):
            swap(policy=f"{UNSPEAKABLE}:Unmakeable")
    assert ask("status")["process"]["pid"] == worker
    assert not failed, "\n".join([*failed, scheduler.about()])
    end = scheduler.end()
    assert end.status == 0
    assert r"printed: \x1b]0;chatted\x07" in end.output
    assert "\x1b" not in end.output
    assert "\npyland: ended\n" not in end.output
