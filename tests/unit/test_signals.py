# SPDX-License-Identifier: GPL-2.0-only
"""Which signals end pyland, and which one reloads its policy."""

from __future__ import annotations

import os
import select
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


def test_a_service_reloads_at_a_hangup_and_ends_at_the_others() -> None:
    before = signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with Signals(hangup_reloads=True) as signals:
            assert not signals.take_reload()
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.got == 0
            assert select.select([signals.fileno()], [], [], 0)[0]  # the loop looks at once
            assert signals.take_reload()
            assert not signals.take_reload()
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.got == signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_service_under_nohup_takes_no_hangup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals(hangup_reloads=True) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.take_reload()
    finally:
        signal.signal(signal.SIGHUP, before)
