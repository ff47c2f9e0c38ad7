# SPDX-License-Identifier: GPL-2.0-only
"""The pytest fixture `rings`, for the tests and for the benchmarks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.rings.harness import Rings, RingsUnavailable


@pytest.fixture
def rings() -> Iterator[Rings]:
    """Both rings, empty; skips the test, with the reason, where BPF cannot be loaded."""
    try:
        made = Rings()
    except RingsUnavailable as reason:
        pytest.skip(f"no BPF here: {reason}")
    yield made
    made.close()
