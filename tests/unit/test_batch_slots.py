# SPDX-License-Identifier: GPL-2.0-only
"""C reads and writes a batch at its slots; what has other ones is used by its attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyland import Batch
from tests.support.division import Divided, Place, places_of, usual


class Larger(Batch):
    """It has a dictionary besides the slots."""


@pytest.mark.parametrize("kind", [Batch, Larger, SimpleNamespace])
@pytest.mark.parametrize("inner", [Batch, Larger, SimpleNamespace])
def test_batches_of_any_class(kind: Any, inner: Any) -> None:
    """As what is divided, and as what the policy of a part is shown."""
    place = Place(usual, -2)
    place.seat.batch = inner()
    divided = Divided(place)
    for pid in (1, 2, 1):
        batch = kind()
        batch.rows, batch.now_ns = [(100 + pid, pid, "c")], 5
        assert places_of(divided.division.decide(batch)) == [(pid, -2, 50)]
    shown: Any = place.seat.batch
    assert (shown.nr, shown.now_ns, shown.rows) == (1, 5, [(101, 1, "c")])


@pytest.mark.parametrize("missing", ["rows", "now_ns"])
def test_a_batch_without_a_value(missing: str) -> None:
    divided = Divided(Place(usual, -2))
    batch = Batch()
    delattr(batch, missing)
    with pytest.raises(AttributeError, match=missing):
        divided.division.decide(batch)
