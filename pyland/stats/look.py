# SPDX-License-Identifier: GPL-2.0-only
"""A client's look at the histograms, from its first request to the end of its connection."""

from __future__ import annotations

from typing import Any

from pyland.output.printing import escape
from pyland.stats.distribution import By
from pyland.stats.histograms import Kept, shown_key, total
from pyland.stats.snapshot import Source


class Look:
    """BPF keeps histograms until `close`."""

    def __init__(self, source: Source, by: By | None) -> None:
        """With `by`, also for each key of that kind; raises ValueError if too many look."""
        self.by = by
        self._source = source
        self._histograms = source.histograms
        self._histograms.add_watcher(by)
        self._before = self._histograms.read(by)

    def answer(self) -> dict[str, Any]:
        """What the histograms have since the first request.

        `all` has those of all tasks by measure, each with `total` and `buckets` (empty ones at the
        end are left out). `keys` is a list of objects with a `key` and its `histograms`.
        """
        now = self._histograms.read(self.by)
        keys = []
        if self.by is not None:
            names = self._source.class_names()
            keys = [
                {"key": escape(shown_key(self.by, key, names)), "histograms": _plain(kept)}
                for key, kept in self._histograms.keys(self.by, now, self._before)
            ]
        return {"all": _plain(total(now, self._before)), "keys": keys}

    def close(self) -> None:
        """The client has left."""
        self._histograms.remove_watcher(self.by)


def _plain(kept: Kept) -> dict[str, Any]:
    found = {}
    for name, one in kept.items():
        used = max((bucket + 1 for bucket, number in enumerate(one.buckets) if number), default=0)
        found[name] = {"total": one.total, "buckets": list(one.buckets[:used])}
    return found
