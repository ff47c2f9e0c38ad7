# SPDX-License-Identifier: GPL-2.0-only
"""The first minute of the soak."""

from __future__ import annotations

import pytest

from tests.kernel.harness import Record, Start
from tests.kernel.soak import survive

pytestmark = pytest.mark.long


def test_it_survives_a_minute_of_mixed_load(start: Start, record: Record) -> None:
    """A failure within this minute is a failure of the long run too."""
    survive(start, record, 1)
