# SPDX-License-Identifier: GPL-2.0-only
"""The protocol of scx_stats (sched-ext/scx, 1.1): what each request of a connection is answered.

A request and its answer are one line of JSON each: `{"req": "stats", "args": {}}`, and
`{"errno": 0, "args": {"resp": ...}}`. `stats` has each counter's growth since the connection's last
`stats`; `stats_meta` says what each field means.

`stats` with the target `latency` has the histograms of the time between a connection's first such
request and its last; BPF keeps them only as long as such a connection is open. With `by` it also
has those of each class, cgroup, comm or queue. With the target `notes` it has the policy's notes
about tasks: those with a number above `after`, or all; with `classes` the names of its classes.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import Any

from pyland.output.printing import as_json, escape
from pyland.stats.counters import COUNTERS, grown
from pyland.stats.distribution import By
from pyland.stats.look import Look
from pyland.stats.snapshot import Snapshot, Source

LINE_MAX = 4096
"""The most bytes of a request."""
TOP = "Pyland"
"""The name of the struct that `stats` answers with."""

_TOLD_MAX = 200
_RUSTLAND = {
    "nr_cpus": "CPUs that are online",
    "nr_running": "tasks on a CPU",
    "nr_queued": "tasks whose records wait for the policy",
    "nr_scheduled": "tasks that the policy keeps undecided",
    "nr_page_faults": "page faults of the process that decides, from the start on",
    "nr_user_dispatches": "tasks queued as the policy decided",
    "nr_kernel_dispatches": "tasks that ran without a new decision",
    "nr_cancel_dispatches": "decisions for a task that had moved on",
    "nr_bounce_dispatches": "decisions for a CPU that the task may not use",
    "nr_failed_dispatches": "decisions that the kernel refused",
    "nr_sched_congested": "records and events that found the ring full",
}
"""The fields of scx_rustland's statistics: its `--monitor` wants each as a number from 0 on."""

_BY_BPF = (
    *("direct", "kernel", "continued"),
    *("fallback_full", "fallback_lag", "fallback_idle"),
)


def meta() -> dict[str, Any]:
    """The answer to `stats_meta`: the structs by name, with kind and meaning of each field.

    scxstats_to_openmetrics.py wants the top struct to have only numbers, texts, and dicts of
    structs, and the numbers' names to be unique in all structs.
    """
    fields: dict[str, Any] = {
        name: {"datum": "u64", "desc": meaning} for name, meaning in _RUSTLAND.items()
    }
    for one in COUNTERS:
        fields[one.name] = {"datum": "u64", "desc": f"{one.unit}: {one.meaning}"}
    fields["policy"] = {
        "datum": "string",
        "desc": "the policy's name",
        "user": {"_om_skip": "true"},
    }
    fields["worker_pid"] = {
        "datum": "u64",
        "desc": "the process that decides",
        "user": {"_om_skip": "true"},
    }
    fields["policy_names_left_out"] = {
        "datum": "u64",
        "desc": "times the policy set a number of its own that found no room, from its start on",
    }
    fields["policy_notes"] = {
        "datum": "u64",
        "desc": "notes that the policy has written about tasks, from its start on",
    }
    structs = {
        "policy_gauges": ("PolicyGauge", "policy_gauge", "float", "a gauge of the policy's own"),
        "policy_counts": ("PolicyCount", "policy_count", "u64", "a counter of the policy's own"),
    }
    found: dict[str, Any] = {}
    for field, (struct, value, kind, meaning) in structs.items():
        fields[field] = {
            "dict": {"key": "string", "datum": {"struct": struct}},
            "desc": f"{meaning}, by name",
        }
        found[struct] = {
            "name": struct,
            "desc": meaning,
            "user": {"_om_prefix": "pyland_", "_om_label": "name"},
            "fields": {value: {"datum": kind, "desc": meaning}},
        }
    found[TOP] = {
        "name": TOP,
        "top": "true",
        "desc": "what pyland does; counters by their growth since the last request",
        "user": {"_om_prefix": "pyland_"},
        "fields": fields,
    }
    return found


def statistics(now: Snapshot, before: Snapshot) -> dict[str, Any]:
    """The answer to `stats`: gauges as they are, counters by their growth."""
    counts = grown(now.counts, before.counts)
    own = now.own.since(before.own)
    kept = now.counts["kept"]
    return {
        "nr_cpus": now.nr_cpus,
        "nr_running": counts["running"],
        "nr_queued": counts["held"] - kept,
        "nr_scheduled": kept,
        "nr_page_faults": max(now.counts["page_faults"], 0),
        "nr_user_dispatches": counts["user_dispatched"],
        "nr_kernel_dispatches": sum(counts[name] for name in _BY_BPF),
        "nr_cancel_dispatches": counts["late"],
        "nr_bounce_dispatches": counts["bounced"],
        "nr_failed_dispatches": counts["failed"],
        "nr_sched_congested": counts["fallback_full"] + counts["events_lost"],
        **counts,
        "policy": now.policy,
        "worker_pid": now.worker_pid,
        "policy_names_left_out": own.left_out,
        "policy_notes": now.nr_notes,
        "policy_gauges": {name: {"policy_gauge": value} for name, value in own.gauges.items()},
        "policy_counts": {name: {"policy_count": value} for name, value in own.counts.items()},
    }


class Session:
    """One connection: the requests come one by one, each as a line."""

    ends = False
    """True after a request after which the connection is to be closed."""
    received_max = LINE_MAX

    def __init__(self, source: Source) -> None:
        """Counters are counted from the connection's first `stats` on."""
        self._source = source
        self._before: Snapshot | None = None
        self._look: Look | None = None

    def take(self, received: bytearray) -> bytes | None:
        """Take one request from the bytes, and return the answer; None if no line is complete."""
        end = received.find(b"\n")
        if end < 0:
            if len(received) < LINE_MAX:
                return None
            received.clear()
            self.ends = True
            return _reply(errno.EINVAL, f"a request has at most {LINE_MAX} bytes")
        line = bytes(received[:end])
        del received[: end + 1]
        try:
            return _reply(0, self._answer(_parsed(line)))
        except ValueError as error:
            return _reply(errno.EINVAL, str(error))

    def close(self) -> None:
        """The connection has ended: its histograms are not kept any more."""
        if self._look is not None:
            self._look.close()
            self._look = None

    def _answer(self, request: Mapping[str, Any]) -> Any:
        """Raises ValueError for a request that cannot be answered."""
        match request["req"]:
            case "stats_meta":
                return meta()
            case "stats":
                target = request["args"].get("target", "top")
                if target == "latency":
                    return self._latency(request["args"].get("by", ""))
                if target == "classes":
                    return {str(number): n for number, n in self._source.class_names().items()}
                if target == "notes":
                    return self._notes(request["args"].get("after", "0"))
                if target != "top":
                    raise ValueError(f'unknown stat target "{_told(target)}"')
                now = self._source.snapshot()
                before, self._before = self._before or now, now
                return statistics(now, before)
            case name:
                raise ValueError(f'unknown command "{_told(name)}"')

    def _notes(self, after: str) -> Any:
        if not (after.isascii() and after.isdecimal() and len(after) < 20):
            raise ValueError(f'"after" is the number of a note, and not "{_told(after)}"')
        notes = self._source.notes(int(after))
        return {
            "policy": self._source.policy,
            "notes": [
                {"number": n.number, "task": n.pid, "time_ns": n.time_ns, "note": escape(n.text)}
                for n in notes
            ],
        }

    def _latency(self, by: str) -> Any:
        kind = None
        if by:
            try:
                kind = By(by)
            except ValueError:
                known = ", ".join(one.value for one in By)
                raise ValueError(f'no histograms by "{_told(by)}": there are {known}') from None
        if self._look is None:
            self._look = Look(self._source, kind)
        elif self._look.by is not kind:
            raise ValueError("a connection looks at histograms of one kind only")
        return self._look.answer()


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the request is no JSON") from None
    if not isinstance(request, dict) or not isinstance(request.get("req"), str):
        raise ValueError('a request is an object with a text "req"')
    args = request.setdefault("args", {})
    if not isinstance(args, dict) or not all(isinstance(one, str) for one in args.values()):
        raise ValueError('"args" is an object of texts')
    return request


def _told(text: str) -> str:
    return escape(text[:_TOLD_MAX])


def _reply(number: int, resp: Any) -> bytes:
    return as_json({"errno": number, "args": {"resp": resp}}).encode() + b"\n"
