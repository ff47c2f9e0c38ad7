# SPDX-License-Identifier: GPL-2.0-only
"""What the policy of an offline machine is asked: records, gathered into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyland.policy import FIELDS, Batch, Policy
from pyland.testing.task import OfflineTask


class Questions:
    """Records that the policy has not seen yet."""

    def __init__(self, policy: Policy, tasks: Mapping[int, OfflineTask]) -> None:
        """None yet; `tasks` are all of the machine's."""
        self._policy, self._tasks = policy, tasks
        self._records: list[dict[str, Any]] = []
        self._batch = Batch()
        self.being_asked = False
        """What is added while the policy decides goes into its next batch."""

    def add(self, record: dict[str, Any]) -> None:
        """One more, for the next batch."""
        self._records.append(record)

    def forget(self, pid: int) -> None:
        """A task is gone."""
        self._records = [record for record in self._records if record["pid"] != pid]

    def answers(self) -> Iterator[Any]:
        """What the policy decides, batch by batch, until there are no more records."""
        self.being_asked = True
        try:
            while self._records:
                records, self._records = self._records, []
                yield self._policy.decide(self._filled(records))
        finally:
            self.being_asked = False

    def _filled(self, records: list[dict[str, Any]]) -> Batch:
        batch, policy = self._batch, self._policy
        batch.now_ns = policy.machine.now_ns
        runnable = [task for task in self._tasks.values() if task.runnable]
        batch.nr = len(records)
        batch.nr_runnable = max(len(runnable), 1)
        batch.weight_runnable = max(sum(task.weight for task in runnable), 1)
        batch.rows = [tuple(record[name] for name in policy.fields) for record in records]
        if policy.uses_numpy:
            import numpy as np

            kinds = [(name, "S16" if name == "comm" else "i8") for name in FIELDS]
            rows = [tuple(record[name] for name in FIELDS) for record in records]
            batch._array = np.array(rows, dtype=kinds)
        return batch
