# SPDX-License-Identifier: GPL-2.0-only
"""The Grafana dashboard asks for metrics that exist, and a real Prometheus can answer it.

Prometheus is Debian's package, unpacked into the cache of this project. Without one the tests that
need it are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyland.stats import openmetrics
from tests.support.statistics import Kernel, parsed_metrics, serving
from tools.lab import debian

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "service"
DASHBOARD = json.loads((SERVICE / "grafana.json").read_text(encoding="utf-8"))


def _expressions() -> list[str]:
    queries = [one["query"]["query"] for one in DASHBOARD["templating"]["list"][1:]]
    panels = DASHBOARD["panels"]
    return queries + [target["expr"] for panel in panels for target in panel["targets"]]


def _exported() -> set[str]:
    """The names of all samples, also of those that need a policy's own numbers."""
    kernel = Kernel()
    kernel.own.gauge("waiting", 2)
    kernel.own.count("boosts", 1)
    found = parsed_metrics(openmetrics.text(kernel.source().snapshot(), {"version": "1"}))
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


@pytest.fixture
def scraping(prometheus: Path, tmp_path: Path) -> Iterator[Server]:
    """A Prometheus with the project's configuration, which scrapes ten tasks and grows."""
    kernel, port, own = Kernel(), _free_port(), _free_port()
    kernel.add(forwarded=10, user_dispatched=4, delay_ns=2_500_000_000)
    kernel.own.gauge("waiting", 2.5)
    text = (SERVICE / "prometheus.yml").read_text(encoding="utf-8")
    assert text.count("127.0.0.1:9190") == 1
    text = text.replace("127.0.0.1:9190", f"127.0.0.1:{port}").replace(": 5s", ": 1s")
    (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
    command: list[str | Path] = [prometheus, f"--config.file={tmp_path}/prometheus.yml"]
    command += [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{own}"]
    with (
        serving(kernel, "none", metrics=str(port)),
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            yield Server(own)
        finally:
            process.terminate()


def test_prometheus_scrapes_it_and_answers_the_dashboard(scraping: Server) -> None:
    target = scraping.target()
    assert (target["health"], target["lastError"]) == ("up", "")
    labels = target["labels"]
    assert labels["job"] == "pyland"

    def value(query: str) -> list[Any]:
        found = scraping.get("query", query=query)["result"]
        return [one["value"][1] for one in found]

    assert value("pyland_forwarded_total") == ["10"]
    assert value("pyland_delay_seconds_total") == ["2.5"]
    assert value('pyland_policy_gauge{name="waiting",policy="deadline"}') == ["2.5"]
    metadata = scraping.get("metadata", metric="pyland_forwarded_total")
    kinds = {one["type"] for found in metadata.values() for one in found}
    # Prometheus before 3 files a counter of OpenMetrics under its name without _total.
    metadata = scraping.get("metadata", metric="pyland_forwarded")
    kinds |= {one["type"] for found in metadata.values() for one in found}
    assert kinds == {"counter"}
    for expression in _expressions()[2:]:
        query = expression.replace("$job", "pyland").replace("$instance", labels["instance"])
        scraping.get("query", query=query.replace("$__rate_interval", "30s"))  # no error of syntax
