# SPDX-License-Identifier: GPL-2.0-only
"""Asks a running pyland for its histograms, and shows them as bpftrace does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pyland.errors import UsageError
from pyland.output.printing import as_json, escape
from pyland.stats.client import Client, NoServerError
from pyland.stats.distribution import (
    MEASURES,
    NR_BUCKETS,
    PERCENTS,
    By,
    Distribution,
    Measure,
    bucket_limit,
    bucket_start,
    drawn,
    summary,
)
from pyland.stats.places import DEFAULT_PATH

CGROUPS = Path("/sys/fs/cgroup")
_CGROUPS_MAX = 100_000
"""The most cgroups that are looked at for names."""

_ANSWER_EVERY_S = 1.0
"""Seconds between two answers: if a server ends, the counts since its last answer are lost."""
_AGAIN_S = 0.1

Keyed = Sequence[tuple[str, Mapping[str, Distribution]]]
"""The histograms of each key by measure; without keys, of the key ``."""


@dataclass(frozen=True)
class Latency:
    """What to show; the constructor raises UsageError for values that cannot be."""

    seconds: float = 5.0
    by: By | None = None
    of: str = ""
    """The name of a measure. If it is empty all are shown; with `by`, only the first."""
    json: bool = False
    path: Path = DEFAULT_PATH

    def __post_init__(self) -> None:
        if not 0.1 <= self.seconds <= 86_400:
            raise UsageError(f"--seconds {self.seconds:g}: it takes 0.1 to 86400 seconds")

    def look(self, tell: Callable[[str], None] = lambda _: None) -> str:
        """Wait for the time, or for Ctrl-C, and return the text; raises UsageError.

        pyland is loaded anew when a CPU comes or goes. The look goes on with that one: `tell` gets
        a line about the time between, which is missing.
        """
        looks: list[tuple[Any, float]] = []
        begin_s = time.monotonic()
        until_s = begin_s + self.seconds
        try:
            while not self._look_until(until_s, looks) and time.monotonic() < until_s:
                time.sleep(_AGAIN_S)
        except KeyboardInterrupt:  # there is no server just now
            pass
        except NoServerError as error:
            raise UsageError(f"{error}: is pyland running?") from None
        seconds = sum(passed_s for _, passed_s in looks)
        if len(looks) != 1:
            passed_s = time.monotonic() - begin_s
            tell(
                "pyland: it has ended or was loaded anew meanwhile: of "
                f"{passed_s:.1f} s the histograms have {seconds:.1f} s"
            )
        return self.told(_added([found for found, _ in looks]), seconds)

    def _look_until(self, until_s: float, looks: list[tuple[Any, float]]) -> bool:
        """Look as long as one server answers, and add its last answer to `looks`.

        False if it has ended before the time. Raises NoServerError if there was none at all.
        """
        args = {"target": "latency"} | ({"by": self.by.value} if self.by else {})
        found: list[Any] = []
        passed_s, ends = 0.0, False
        try:
            with Client(self.path) as client:
                client.request("stats", **args)
                begin_s = time.monotonic()
                while not ends:
                    try:
                        left_s = max(until_s - time.monotonic(), 0)
                        time.sleep(min(left_s, _ANSWER_EVERY_S))
                        ends = left_s <= _ANSWER_EVERY_S
                    except KeyboardInterrupt:
                        ends = True
                    found = [client.request("stats", **args)]
                    passed_s = time.monotonic() - begin_s
        except NoServerError:
            if not found and not looks:
                raise
            return False
        finally:
            looks += ((one, passed_s) for one in found)
        return True

    def told(self, found: Any, seconds: float) -> str:
        """The answer of a server as text; raises UsageError if it is no answer of pyland's."""
        try:
            kept: Keyed = [("", _kept(found["all"]))]
            if self.by:
                kept = [(str(one["key"]), _kept(one["histograms"])) for one in found["keys"]]
        except (TypeError, KeyError, ValueError):
            raise UsageError(f"{self.path}: the scheduler there has no histograms") from None
        if self.by is By.CGROUP:
            kept = _with_paths(kept)
        kept = [(escape(key), one) for key, one in kept]
        if self.json:
            told = [one for each in kept for one in self._objects(*each)]
            by = self.by.value if self.by else None
            return as_json({"seconds": round(seconds, 3), "by": by, "histograms": told})
        return "\n".join(self._lines(kept)) or "no task ran in this time"

    def _measures(self) -> Iterator[Measure]:
        for number, measure in enumerate(MEASURES):
            if measure.name == self.of or (not self.of and not (self.by and number)):
                yield measure

    def _lines(self, kept: Keyed) -> Iterator[str]:
        """The histograms with the most values last, as bpftrace orders them."""
        first = True
        for measure in self._measures():
            found = [(key, each[measure.name]) for key, each in kept]
            for key, one in sorted(found, key=lambda each: each[1].count):
                if not one.count:
                    continue
                if not first:
                    yield ""
                first = False
                yield f"@{measure.title}[{key}]:" if self.by else f"@{measure.title}:"
                yield from drawn(one.buckets)
                yield summary(one, measure)

    def _objects(self, key: str, kept: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
        for measure in MEASURES:
            one = kept[measure.name]
            if (self.of and measure.name != self.of) or not one.count:
                continue
            buckets = [
                {
                    "from": bucket_start(bucket),
                    "to": None if bucket == NR_BUCKETS - 1 else bucket_limit(bucket),
                    "count": number,
                }
                for bucket, number in enumerate(one.buckets)
                if number
            ]
            yield {
                "name": measure.name,
                "unit": measure.unit,
                **({"key": key} if self.by else {}),
                "count": one.count,
                "average": round(one.average(measure), 3),
                **{f"p{percent:g}": round(one.percentile(percent), 3) for percent in PERCENTS},
                "buckets": buckets,
            }


def _added(answers: Sequence[Any]) -> Any:
    """One answer of several: the values of each histogram together.

    Raises nothing: if one of the answers is not valid, the first is returned.
    """
    if not answers:
        return {"all": {one.name: {"total": 0, "buckets": []} for one in MEASURES}, "keys": []}
    first, *others = answers
    with suppress(TypeError, KeyError, AttributeError):
        for other in others:
            _add(first["all"], other["all"])
            known = {one["key"]: one["histograms"] for one in first["keys"]}
            for one in other["keys"]:
                if one["key"] in known:
                    _add(known[one["key"]], one["histograms"])
                else:
                    first["keys"].append(one)
    return first


def _add(to: dict[str, Any], kept: Mapping[str, Any]) -> None:
    for name, one in kept.items():
        mine = to.setdefault(name, {"total": 0, "buckets": []})
        mine["total"] += one["total"]
        mine["buckets"] = [
            a + b for a, b in zip_longest(mine["buckets"], one["buckets"], fillvalue=0)
        ]


def _kept(found: Any) -> dict[str, Distribution]:
    """Raises TypeError, KeyError or ValueError if these are no histograms."""
    kept = {}
    for measure in MEASURES:
        one = found[measure.name]
        numbers = [one["total"], *one["buckets"]]
        if len(numbers) > NR_BUCKETS + 1:
            raise ValueError
        if not all(type(number) is int and 0 <= number < 1 << 64 for number in numbers):
            raise ValueError
        numbers += [0] * (NR_BUCKETS + 1 - len(numbers))
        kept[measure.name] = Distribution(numbers[0], numbers[1:])
    return kept


def _with_paths(kept: Keyed, root: Path = CGROUPS) -> Keyed:
    """The cgroups by their paths: a cgroup's number is the inode of its folder."""
    missing = {key for key, _ in kept if key.isdecimal()}
    paths: dict[str, str] = {}
    for seen, (folder, _, _) in enumerate(os.walk(root)):
        if not missing or seen > _CGROUPS_MAX:
            break
        with suppress(OSError):
            number = str(os.stat(folder).st_ino)
            if number in missing:
                missing.discard(number)
                paths[number] = "/" + os.path.relpath(folder, root).removeprefix(".")
    return [
        (paths.get(key, f"cgroup {key}, which is gone" if key.isdecimal() else key), one)
        for key, one in kept
    ]
