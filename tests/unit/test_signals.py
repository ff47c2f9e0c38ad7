# SPDX-License-Identifier: GPL-2.0-only
"""Which signals end pyland."""

from __future__ import annotations

import os
import signal

import pytest

from pyland.supervisor.signals import Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted(number: signal.Signals) -> None:
    outside = signal.signal(number, signal.default_int_handler)  # nohup's is another case
    try:
        with Signals() as signals:
            os.kill(os.getpid(), number)
            assert signals.got == number
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, outside)


def test_a_hangup_that_nohup_made_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.got == 0
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
