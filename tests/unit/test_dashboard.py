# SPDX-License-Identifier: GPL-2.0-only
"""The Grafana dashboard asks for metrics that exist, and a real Prometheus can answer it.

Prometheus is Debian's package, unpacked into the cache of this project. Without one the tests that
need it are skipped.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyland._native import ffi
from pyland.stats import openmetrics
from pyland.stats.counters import COUNTERS
from pyland.stats.distribution import By
from tests.support.statistics import Kernel, parsed_metrics, serving
from tools.lab import debian

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service"
DASHBOARD = json.loads((SERVICE / "grafana.json").read_text(encoding="utf-8"))


def _expressions() -> list[str]:
    queries = [one["query"]["query"] for one in DASHBOARD["templating"]["list"][1:]]
    panels = DASHBOARD["panels"]
    return queries + [target["expr"] for panel in panels for target in panel["targets"]]


def _grow(kernel: Kernel) -> None:
    """As if all that pyland counts had happened once more."""
    names = {name for name, _ in ffi.typeof("struct pyland_cpu").fields or ()}
    kernel.add(**{one.name: 20_000 for one in COUNTERS if one.name in names})
    kernel.add(forwarded=100_000)  # more than all answers, so some tasks are held
    kernel.user.cycles += 20_000
    kernel.cpus[0].nr_running, kernel.shared.groups = 2, 3
    kernel.own.gauge("waiting", 2.5)
    kernel.own.count("boosts", 1)
    kernel.keep_of(By.CLASS, 0, "wakeup", 5)


def _exported() -> set[str]:
    """The names of all samples, also of a policy's own numbers and of `--histograms`."""
    kernel = Kernel()
    source = kernel.source(histograms=True)
    _grow(kernel)
    found = parsed_metrics(openmetrics.text(source.snapshot(), {"version": "1"}))
    return {sample.name for family in found for sample in family.samples}


def test_every_metric_of_the_dashboard_is_exported() -> None:
    used = {name for text in _expressions() for name in re.findall(r"\bpyland_\w+", text)}
    assert len(used) > 25
    assert used <= _exported()


def test_panels_have_places_and_names_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not taken & cells
        taken |= cells


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "pyland" / "prometheus"


@pytest.fixture(scope="module")
def prometheus() -> Path:
    """The program; that of the machine, else Debian's."""
    if own := shutil.which("prometheus"):
        return Path(own)
    suite = re.search(
        r"^VERSION_CODENAME=(\w+)$", Path("/etc/os-release").read_text(), re.MULTILINE
    )
    try:
        debian.fetch(("prometheus",), suite[1] if suite else "stable", _folder())
    except debian.DebianError as error:
        pytest.skip(f"no Prometheus: {error}")
    return _folder() / "usr/bin/prometheus"


class Server:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, **values: str) -> Any:
        query = urllib.parse.urlencode(values)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def target(self) -> dict[str, Any]:
        """Its one target, once that was scraped."""
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            try:
                found = self.get("targets")["activeTargets"]
            except OSError:
                found = []
            if found and found[0]["health"] != "unknown":
                assert isinstance(found[0], dict)
                return found[0]
            time.sleep(0.2)
        raise AssertionError("nothing was scraped within 60 s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _scraping(prometheus: Path, folder: Path, kernel: Kernel) -> Iterator[Server]:
    """A Prometheus with the project's configuration, which scrapes these numbers each second."""
    port, own = _free_port(), _free_port()
    text = (SERVICE / "prometheus.yml").read_text(encoding="utf-8")
    assert text.count("127.0.0.1:9190") == 1
    text = text.replace("127.0.0.1:9190", f"127.0.0.1:{port}").replace(": 5s", ": 1s")
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    command: list[str | Path] = [prometheus, f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{own}"]
    with (
        serving(kernel, "none", metrics=str(port), histograms=True),
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            yield Server(own)
        finally:
            process.terminate()


@contextmanager
def _growing(kernel: Kernel) -> Iterator[None]:
    """All numbers grow, ten times in a second."""
    ended = threading.Event()

    def grow() -> None:
        while not ended.wait(0.1):
            _grow(kernel)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_prometheus_scrapes_it_and_answers_the_dashboard(prometheus: Path, tmp_path: Path) -> None:
    """Each of its queries has an answer from a machine on which all that is counted happens."""
    kernel = Kernel()
    kernel.add(forwarded=10, user_dispatched=4, delay_ns=2_500_000_000)
    kernel.own.gauge("waiting", 2.5)
    with _scraping(prometheus, tmp_path, kernel) as server:
        target = server.target()
        assert (target["health"], target["lastError"]) == ("up", "")
        labels = target["labels"]
        assert labels["job"] == "pyland"

        def values(query: str) -> list[str]:
            found = server.get("query", query=query)["result"]
            return [one["value"][1] for one in found]

        assert values("pyland_forwarded_total") == ["10"]
        assert values("pyland_delay_seconds_total") == ["2.5"]
        assert values('pyland_policy_gauge{name="waiting",policy="deadline"}') == ["2.5"]
        metadata = server.get("metadata", metric="pyland_forwarded_total")
        kinds = {one["type"] for found in metadata.values() for one in found}
        # Prometheus before 3 files a counter of OpenMetrics under its name without _total.
        metadata = server.get("metadata", metric="pyland_forwarded")
        kinds |= {one["type"] for found in metadata.values() for one in found}
        assert kinds == {"counter"}
        queries = {
            expression.replace("$job", "pyland")
            .replace("$instance", labels["instance"])
            .replace("$__rate_interval", "30s")
            for expression in _expressions()[2:]
        }
        with _growing(kernel):
            until_s = time.monotonic() + 60
            while time.monotonic() < until_s:
                found = {query: values(query) for query in queries}
                # A rate needs two scrapes, and what did not grow between them is no number.
                if all(found.values()) and not any("NaN" in one for one in found.values()):
                    break
                time.sleep(0.5)
    for query, one in found.items():
        assert one, query
        assert all(math.isfinite(float(value)) for value in one), query
        assert any(float(value) > 0 for value in one), query
    # As many on one CPU as happened ten times in a second, and the bucket of 16 to 32 us.
    quantiles = [float(one[0]) for query, one in found.items() if "histogram_quantile" in query]
    assert len(quantiles) == 4
    assert all(16e-6 <= value <= 32e-6 for value in quantiles)
