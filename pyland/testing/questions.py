# SPDX-License-Identifier: GPL-2.0-only
"""The records of an offline machine, and the batches that the policy is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyland.policy import FIELDS, Batch, Policy
from pyland.testing.task import OfflineTask


class Questions:
    """Records that the policy has not seen yet."""

    def __init__(self, policy: Policy) -> None:
        """It begins without a record."""
        self._policy = policy
        self._records: list[dict[str, Any]] = []
        self._nr_runnable = self._weight_runnable = 0
        self._batch = Batch(policy.fields)
        self.being_asked = False
        """Records that are added while the policy decides come with its next batch."""

    def add(self, record: dict[str, Any]) -> None:
        """Add a record to the next batch."""
        self._records.append(record)

    def count(self, task: OfflineTask, by: int) -> None:
        """Count a task that became runnable (1), or stopped being runnable (-1)."""
        self._nr_runnable += by
        self._weight_runnable += by * task.weight

    def forget(self, pid: int) -> None:
        """Drop the records of a task that is gone."""
        self._records = [record for record in self._records if record["pid"] != pid]

    def answers(self, *, held: bool = False) -> Iterator[Any]:
        """What the policy decides, batch by batch, until no record is left.

        With `held` it is asked at least once, if it holds tasks.
        """
        self.being_asked = True
        try:
            while self._records or (held and self._policy.nr_held):
                records, self._records, held = self._records, [], False
                yield self._policy.decide(self._filled(records))
        finally:
            self.being_asked = False

    def _filled(self, records: list[dict[str, Any]]) -> Batch:
        batch, policy = self._batch, self._policy
        batch.now_ns = policy.machine.now_ns
        batch.nr = len(records)
        batch.nr_runnable = max(self._nr_runnable, 1)
        batch.weight_runnable = max(self._weight_runnable, 1)
        batch.rows = [tuple(record[name] for name in policy.fields) for record in records]
        batch.view = lambda fields: [tuple(one[name] for name in fields) for one in records]
        if policy.uses_numpy:
            import numpy as np

            kinds = [(name, "S16" if name.endswith("comm") else "i8") for name in FIELDS]
            rows = [tuple(record[name] for name in FIELDS) for record in records]
            batch.records = np.array(rows, dtype=kinds)
        return batch
