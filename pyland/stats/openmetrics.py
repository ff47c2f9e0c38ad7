# SPDX-License-Identifier: GPL-2.0-only
"""The metrics as OpenMetrics 1.0 text, and the little of HTTP/1.1 that a scraper needs.

prometheus_client would write the same text for 12 MiB of memory and 88 ms at each start, and
http.server would take a thread for each client.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from pyland._layout import VERSION
from pyland.output.printing import escape
from pyland.stats.counters import COUNTERS
from pyland.stats.distribution import MEASURES, bucket_limit
from pyland.stats.histograms import Kept
from pyland.stats.notes import Note
from pyland.stats.snapshot import Snapshot, Source

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
HEAD_MAX = 8192
"""The most bytes of a request: its first line and its headers."""
NOTED_MAX = 16
"""The most texts of notes that have a series of their own."""

_OTHERS = "(others)"
_PATHS = (b"/", b"/metrics")
_END = b"\r\n\r\n"
_NS = "_ns"


def build_labels() -> dict[str, str]:
    """The labels of `pyland_build_info`."""
    python = sys.version.partition(" ")[0]
    return {"version": VERSION, "python": python, "kernel": os.uname().release}


def text(
    now: Snapshot, build: Mapping[str, str], noted: Mapping[str, int] = MappingProxyType({})
) -> str:
    """All metrics. Times are in seconds, as OpenMetrics wants it.

    `noted` says how many tasks have each note of the policy.
    """
    return "".join(f"{line}\n" for line in _lines(now, build, noted))


def _lines(now: Snapshot, build: Mapping[str, str], noted: Mapping[str, int]) -> Iterator[str]:
    yield from _family("pyland_build", "info", "the versions that run")
    yield f"pyland_build_info{_labels(build)} 1"
    yield from _family("pyland_policy", "info", "the policy that decides")
    yield f"pyland_policy_info{_labels({'policy': now.policy})} 1"
    yield from _family("pyland_cpus", "gauge", "CPUs that are online")
    yield f"pyland_cpus {now.nr_cpus}"
    for one in COUNTERS:
        value = max(now.counts[one.name], 0)
        in_ns = one.unit == "ns"
        name = f"pyland_{one.name.removesuffix(_NS)}_seconds" if in_ns else f"pyland_{one.name}"
        meaning = one.meaning if in_ns else f"{one.unit}: {one.meaning}"
        yield from _family(name, "gauge" if one.is_gauge else "counter", meaning)
        if in_ns:
            yield f"# UNIT {name} seconds"
        yield f"{name}{'' if one.is_gauge else '_total'} {value / 1e9 if in_ns else value}"
    yield from _family("pyland_policy_gauge", "gauge", "a gauge of the policy's own")
    for name, gauge in now.own.gauges.items():
        yield f"pyland_policy_gauge{_labels({'policy': now.policy, 'name': name})} {gauge!r}"
    yield from _family("pyland_policy_count", "counter", "a counter of the policy's own")
    for name, count in now.own.counts.items():
        yield f"pyland_policy_count_total{_labels({'policy': now.policy, 'name': name})} {count}"
    yield from _family("pyland_policy_notes", "counter", "notes of the policy about tasks")
    yield f"pyland_policy_notes_total{_labels({'policy': now.policy})} {now.nr_notes}"
    yield from _family("pyland_policy_noted_tasks", "gauge", "tasks with this note of the policy")
    for note, number in noted.items():
        labels = _labels({"policy": now.policy, "note": note})
        yield f"pyland_policy_noted_tasks{labels} {number}"
    if now.by_class:
        yield from _histograms(now.by_class)
    yield "# EOF"


def noted_tasks(notes: Iterable[Note]) -> dict[str, int]:
    """How many tasks have each note; all but the most frequent notes are counted together.

    The texts are escaped: two that look the same would be two series of one name.
    """
    counted = Counter(escape(note.text) for note in notes if note.text).most_common()
    found = dict(counted[:NOTED_MAX])
    if others := sum(number for _, number in counted[NOTED_MAX:]):
        found[_OTHERS] = found.get(_OTHERS, 0) + others
    return found


def _histograms(by_class: Mapping[str, Kept]) -> Iterator[str]:
    """Each histogram by class; the classes together are all tasks."""
    for measure in MEASURES:
        name = f"pyland_{measure.metric}"
        yield from _family(name, "histogram", measure.meaning)
        if measure.in_time:
            yield f"# UNIT {name} seconds"
        for label, kept in by_class.items():
            one = kept[measure.name]
            below = 0
            for bucket, number in enumerate(one.buckets[:-1]):
                below += number
                # `le` includes its limit, and a bucket does not. For times this is neglected: a
                # value that is exactly the limit is rare.
                limit = bucket_limit(bucket)
                le = float(limit - 1) if not measure.in_time else limit / 1e6
                yield f"{name}_bucket{_labels({'class': label, 'le': repr(le)})} {below}"
            count = one.count
            yield f"{name}_bucket{_labels({'class': label, 'le': '+Inf'})} {count}"
            total = one.total / 1e9 if measure.in_time else one.total
            yield f"{name}_sum{_labels({'class': label})} {total}"
            yield f"{name}_count{_labels({'class': label})} {count}"


def _family(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    yield f"# HELP {name} {_quoted(meaning)}"


def _labels(labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{inside}}}"


def _quoted(value: str) -> str:
    return escape(value).replace("\\", "\\\\").replace('"', '\\"')


class Session:
    """One connection of a scraper: the requests come one by one."""

    ends = False
    """True after a request after which the connection is to be closed."""
    received_max = HEAD_MAX

    def __init__(self, source: Source, build: Mapping[str, str]) -> None:
        """`build` is what `build_labels` returned."""
        self._source, self._build = source, build

    def take(self, received: bytearray) -> bytes | None:
        """Take one request from the bytes, and return the answer; None if none is complete."""
        end = received.find(_END)
        if end < 0:
            if len(received) < HEAD_MAX:
                return None
            received.clear()
            return self._refused("431 Request Header Fields Too Large")
        head = bytes(received[:end])
        del received[: end + len(_END)]
        first, *rest = head.split(b"\r\n")
        words = first.split(b" ")
        if len(words) != 3 or words[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
            return self._refused("400 Bad Request")
        headers = {
            name.strip().lower(): value.strip().lower()
            for name, _, value in (line.partition(b":") for line in rest)
        }
        method, target, version = words
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return self._refused("400 Bad Request")
        wish = headers.get(b"connection", b"")
        self.ends = wish == b"close" or (version == b"HTTP/1.0" and wish != b"keep-alive")
        if method not in (b"GET", b"HEAD"):
            return self._answer("405 Method Not Allowed", "", more="Allow: GET, HEAD\r\n")
        if target.partition(b"?")[0] not in _PATHS:
            return self._answer("404 Not Found", "the metrics are at /metrics\n")
        noted = noted_tasks(self._source.notes())
        body = text(self._source.snapshot(), self._build, noted)
        return self._answer("200 OK", body, kind=CONTENT_TYPE, head_only=method == b"HEAD")

    def close(self) -> None:
        """Nothing is kept for a connection."""

    def _refused(self, status: str) -> bytes:
        self.ends = True
        return self._answer(status, "")

    def _answer(
        self,
        status: str,
        body: str,
        *,
        kind: str = "text/plain; charset=utf-8",
        more: str = "",
        head_only: bool = False,
    ) -> bytes:
        data = body.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{more}"
        head += f"Connection: {'close' if self.ends else 'keep-alive'}\r\n\r\n"
        return head.encode() + (b"" if head_only else data)
