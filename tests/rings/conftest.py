# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures of the ring tests: skipped, with the reason, where BPF cannot be loaded."""

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
