# SPDX-License-Identifier: GPL-2.0-only
"""Shows the statistics of a running pyland from another process, as rows or as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.output.printing import as_json
from pyland.stats.client import Client, NoServerError
from pyland.stats.notes import NOTES_MAX, TEXT_MAX
from pyland.stats.numbers import GAUGE_MAX
from pyland.stats.places import DEFAULT_PATH
from pyland.stats.table import COLUMNS, Table, notes_line, policy_line

_AGAIN_S = 1.0
"""Seconds between two tries to reach a server."""
_SOON_S = 3.0
"""Seconds without a server before it is told: a restart of pyland takes less."""
_SHOWN_MAX = 10 * TEXT_MAX
"""The most characters of an escaped note."""
_WANTED = (*(name for _, name in COLUMNS), "delay_ns")


@dataclass(frozen=True)
class Monitor:
    """What to show; the constructor raises UsageError for values that cannot be."""

    interval_s: float = 1.0
    path: Path = DEFAULT_PATH
    json: bool = False
    """True to show for programs: an object a line, with all fields and the time."""
    policy_numbers: bool = False
    """True to show also the policy's own numbers and its notes about tasks, each in a line."""
    option: str = "--interval"
    """The option that set the interval, for messages."""

    def __post_init__(self) -> None:
        if not 0.1 <= self.interval_s <= 3600:
            raise UsageError(f"{self.option} {self.interval_s:g}: it takes 0.1 to 3600 seconds")

    def run(self, show: Callable[[str], bool], tell: Callable[[str], None]) -> None:
        """Show rows until `show` returns False; raises UsageError if no server can be asked.

        While there is no server, it waits for one: `tell` gets a line about that.
        """
        table = Table()
        lost_s: float | None = time.monotonic() - _SOON_S
        told = False
        while True:
            try:
                with Client(self.path) as client:
                    client.request("stats")
                    lost_s, told = None, False
                    if not self._follow(client, table, show):
                        return
            except NoServerError as lost:
                now_s = time.monotonic()
                lost_s = now_s if lost_s is None else lost_s
                if not told and now_s - lost_s >= _SOON_S:
                    told = True
                    tell(f"pyland: {lost}: waiting for one")
                time.sleep(_AGAIN_S if now_s - lost_s >= _SOON_S else 0.1)

    def _follow(self, client: Client, table: Table, show: Callable[[str], bool]) -> bool:
        """Show rows as long as the server answers; False if no more are wanted."""
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + self.interval_s, time.monotonic())
            time.sleep(max(due_s - time.monotonic(), 0))
            found = client.request("stats")
            wanted = self.policy_numbers and isinstance(found, dict) and found.get("policy_notes")
            notes = client.request("stats", target="notes") if wanted else None
            if not show(self.told(found, table, notes)):
                return False

    def told(self, found: Any, table: Table, notes: Any = None) -> str:
        """What is shown of one answer; raises UsageError if it is not pyland's.

        `notes` is the answer about the policy's notes, if there is one.
        """
        if not isinstance(found, dict) or not all(
            type(found.get(name)) is int and 0 <= found[name] < 1 << 64 for name in _WANTED
        ):
            raise UsageError(f"{self.path}: the scheduler there is not pyland")
        if self.json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            noted = {} if notes is None else {"notes": notes_of(notes)}
            return as_json({"time": now, "interval_s": self.interval_s, **found, **noted})
        lines = table.lines(found)
        if self.policy_numbers:
            gauges = own_values(found.get("policy_gauges"), "policy_gauge")
            counts = own_values(found.get("policy_counts"), "policy_count")
            whole = {name: int(value) for name, value in counts.items()}
            lines.append(policy_line(gauges, whole))
            if noted_tasks := [*notes_of(notes).items()]:
                lines.append(notes_line(noted_tasks))
        return "\n".join(lines)


def own_values(found: object, name: str) -> Mapping[str, float]:
    """The numbers of a dict of structs."""
    if not isinstance(found, dict):
        return {}
    return {
        key: value
        for key, struct in found.items()
        if isinstance(struct, dict)
        and isinstance(value := struct.get(name), int | float)
        and abs(value) <= GAUGE_MAX
    }


def notes_of(found: object) -> dict[int, str]:
    """The notes of an answer with the target `notes`, by the task's number; the newest are last.

    What is no note is left out.
    """
    notes = found.get("notes") if isinstance(found, dict) else None
    return {
        one["task"]: one["note"]
        for one in (notes[:NOTES_MAX] if isinstance(notes, list) else ())
        if isinstance(one, dict)
        and type(one.get("task")) is int
        and isinstance(one.get("note"), str)
        and 0 < len(one["note"]) <= _SHOWN_MAX
    }
