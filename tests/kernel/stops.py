# SPDX-License-Identifier: GPL-2.0-only
"""A policy that stops itself in each phase, also in its import, so that a test can inspect it."""

from __future__ import annotations

import os
import signal
import threading

from pyland.policies.deadline import Deadline
from pyland.policy import Batch

os.kill(os.getpid(), signal.SIGSTOP)


class Stops(Deadline):
    """Stops itself in its constructor, and when it decides."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        os.kill(os.getpid(), signal.SIGSTOP)

    def decide(self, batch: Batch) -> list[int]:
        self.calls += 1
        if self.calls == 1 or self.calls == 300:
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.calls == 2:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().decide(batch)
