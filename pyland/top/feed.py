# SPDX-License-Identifier: GPL-2.0-only
"""Asks the statistics server, from a thread: a server that gives no answer stops no screen."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.stats.client import Client, NoServerError
from pyland.stats.monitor import notes_of
from pyland.top.statistics import Histogram, Statistics, checked, histograms

_TIMEOUT_S = 5.0
_AGAIN_S = 0.25
"""Seconds between two tries to reach a server."""


class Feed:
    """The latest statistics of the running pyland; it connects again when pyland is restarted."""

    def __init__(self, path: Path) -> None:
        """Nothing is asked before `start`, and then only when `ask` is called."""
        self.path = path
        self._wanted = threading.Event()
        self._answered = threading.Condition()
        self._latest: Statistics | None = None
        self._trouble = ""
        self._number = 0
        self._ends = threading.Event()
        self._latency_wanted = False
        self._latency: Client | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="statistics")

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def ask(self, *, latency: bool = False) -> int:
        """Ask for new statistics; returns the number of answers so far, for `answer`.

        With `latency` also for histograms: pyland keeps them from the first such question until
        one without it.
        """
        self._latency_wanted = latency
        with self._answered:
            number = self._number
        self._wanted.set()
        return number

    def answer(self, after: int, within_s: float) -> tuple[Statistics | None, str]:
        """The latest statistics, or None and the reason; waits for an answer newer than `after`."""
        with self._answered:
            if self._latest is not None:
                self._answered.wait_for(lambda: self._number > after, within_s)
            return self._latest, self._trouble

    def stop(self, within_s: float = 0.2) -> None:
        """Ask no more; a request that waits for its answer for longer ends with the process."""
        self._ends.set()
        self._wanted.set()
        self._thread.join(within_s)

    def _follow(self) -> None:
        while not self._ends.is_set():
            try:
                with Client(self.path, _TIMEOUT_S) as client:
                    self._converse(client)
            except (NoServerError, UsageError) as error:
                self._look_no_more()
                self._tell(None, str(error))
            self._ends.wait(_AGAIN_S)

    def _converse(self, client: Client) -> None:
        """Ask until the server has ended; raises NoServerError or UsageError."""
        client.request("stats")  # growth is counted from here on
        at_s = time.monotonic()
        while not self._ends.is_set():
            self._wanted.wait()
            self._wanted.clear()
            if self._ends.is_set():
                return
            found: Any = client.request("stats")
            now_s = time.monotonic()
            latest = checked(found, now_s - at_s, self.path)
            notes = notes_of(client.request("stats", target="notes")) if latest.nr_notes else {}
            self._tell(replace(latest, notes=notes, histograms=self._histograms()), "")
            at_s = now_s

    def _histograms(self) -> tuple[Histogram, ...] | None:
        """The histograms, if they are wanted; a connection of their own counts them."""
        if not self._latency_wanted:
            self._look_no_more()
            return None
        try:
            if self._latency is None:
                self._latency = Client(self.path, _TIMEOUT_S)
            return histograms(self._latency.request("stats", target="latency"))
        except UsageError:  # a pyland without histograms
            self._look_no_more()
            return None

    def _look_no_more(self) -> None:
        if self._latency is not None:
            self._latency.close()
            self._latency = None

    def _tell(self, latest: Statistics | None, trouble: str) -> None:
        with self._answered:
            self._latest, self._trouble = latest, trouble
            self._number += 1
            self._answered.notify_all()
