# SPDX-License-Identifier: GPL-2.0-only
"""What the benchmarks on real rings share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rings.harness import Rings, RingsUnavailable


@pytest.fixture
def rings() -> Iterator[Rings]:
    """Both rings, empty."""
    try:
        made = Rings()
    except RingsUnavailable as reason:
        pytest.skip(f"no BPF here: {reason}")
    yield made
    made.close()
