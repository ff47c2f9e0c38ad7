# SPDX-License-Identifier: GPL-2.0-only
"""Swaps count in memory that the policy can write, too."""

from __future__ import annotations

from typing import Any

import pytest

from pyland._native import ffi
from pyland.loading.wanted import Wanted
from pyland.supervisor.protocol import SwapRequest
from pyland.supervisor.swaps import Swaps


class Worker:
    """Takes every order."""

    def order(self, _: object) -> bool:
        return True

    def hurry(self) -> None:
        """Nothing runs here."""


@pytest.mark.parametrize("written", [0, 1, 2**32 - 1])
def test_what_the_policy_writes_does_not_matter(written: int) -> None:
    memory: Any = ffi.new("struct pyland_user *")
    memory.request = written
    swaps = Swaps(Worker(), memory, lambda *_: pytest.fail("no trial"), lambda *_: None)  # type: ignore[arg-type]
    swaps.add(object(), SwapRequest(Wanted("fifo")), Wanted("rr"))  # type: ignore[arg-type]
    assert swaps.is_at_worker
    assert memory.request == (written + 1) % 2**32
