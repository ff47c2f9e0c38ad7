# SPDX-License-Identifier: GPL-2.0-only
"""The metrics, as prometheus_client reads them, and over HTTP from a real socket."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from pyland.stats import openmetrics
from pyland.stats.counters import COUNTERS
from pyland.stats.distribution import MEASURES, By
from pyland.stats.openmetrics import CONTENT_TYPE, HEAD_MAX
from tests.support.statistics import NR_CPUS, Kernel, parsed_metrics, serving

BUILD = {"version": "0.1.0", "python": "3.11.2", "kernel": "7.3.4"}


def _parsed(text: str) -> dict[str, Metric]:
    return {one.name: one for one in parsed_metrics(text)}


def _sample(families: dict[str, Metric], metric: str, /, **labels: str) -> float:
    (value,) = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    ]
    return float(value)


@pytest.fixture
def kernel() -> Kernel:
    kernel = Kernel()
    kernel.add(forwarded=10, user_dispatched=4, delay_ns=2_500_000_000, nr_running=2)
    return kernel


@pytest.fixture
def port(kernel: Kernel) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    with serving(kernel, "none", metrics=str(port)):
        yield port


def test_every_counter_is_a_metric_of_its_kind(kernel: Kernel) -> None:
    families = _parsed(openmetrics.text(kernel.source().snapshot(), BUILD))
    for one in COUNTERS:
        name = f"pyland_{one.name}"
        if one.unit == "ns":
            name = f"{name.removesuffix('_ns')}_seconds"
            assert families[name].unit == "seconds"
        assert families[name].type == ("gauge" if one.is_gauge else "counter")
        assert one.meaning in families[name].documentation
    assert _sample(families, "pyland_forwarded_total") == 10
    assert _sample(families, "pyland_held") == 6
    assert _sample(families, "pyland_delay_seconds_total") == 2.5
    assert _sample(families, "pyland_build_info", **BUILD) == 1
    assert _sample(families, "pyland_cpus") == NR_CPUS


def test_the_policys_own_have_labels(kernel: Kernel) -> None:
    kernel.own.gauge("waiting", 2.5)
    kernel.own.gauge("most", float("inf"))
    kernel.own.count("boosts", 7)
    snapshot = kernel.source("mine").snapshot()
    families = _parsed(openmetrics.text(snapshot, BUILD))
    own = {"policy": "mine"}
    assert _sample(families, "pyland_policy_gauge", name="waiting", **own) == 2.5
    assert _sample(families, "pyland_policy_gauge", name="most", **own) == 2.0**63
    assert _sample(families, "pyland_policy_count_total", name="boosts", **own) == 7
    assert _sample(families, "pyland_policy_info", **own) == 1


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\nb", "\x1b[2J", "\u202e", 'x"} 1\n# EOF\n'])
def test_no_name_breaks_out_of_its_label(name: str, kernel: Kernel) -> None:
    text = openmetrics.text(kernel.source(name).snapshot(), BUILD)
    assert text.replace("\n", "").isprintable()
    families = _parsed(text)
    (sample,) = families["pyland_policy"].samples
    assert sample.labels["policy"].isprintable()


def test_a_scraper_keeps_its_connection(port: int, kernel: Kernel) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for path in ("/metrics", "/", "/metrics?x=1"):
        connection.request("GET", path, headers={"Accept": CONTENT_TYPE})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        assert _sample(_parsed(answer.read().decode()), "pyland_forwarded_total") == 10
    connection.request("HEAD", "/metrics")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    for method, path, status in (("GET", "/etc/passwd", 404), ("DELETE", "/metrics", 405)):
        connection.request(method, path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()


def _raw(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        answer = b""
        try:
            while more := client.recv(1 << 16):
                answer += more
        except ConnectionResetError:  # not all was read that was sent
            pass
        return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n", b"200"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\xff\xfe\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET /" + b"x" * HEAD_MAX, b"431"),
    ],
)
def test_a_request_that_ends_the_connection(port: int, request_: bytes, status: bytes) -> None:
    assert _raw(port, request_).startswith(b"HTTP/1.1 " + status)


def test_a_slow_client_delays_no_other(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /metr")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()
        slow.settimeout(10)
        slow.sendall(b"ics HTTP/1.1\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 200")


def test_over_a_unix_socket(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "metrics"
    with (
        serving(kernel, "none", metrics=str(path)),
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert CONTENT_TYPE.encode() in head
    assert _sample(_parsed(body.decode()), "pyland_forwarded_total") == 10


def test_histograms_by_class(kernel: Kernel) -> None:
    """The parser checks that buckets grow, and that there are +Inf, sum and count."""
    kernel.own.name_class(3, "game")
    source = kernel.source(histograms=True)
    kernel.keep_of(By.CLASS, 3, "wakeup", 4, 30, slot=2)
    kernel.keep_of(By.CLASS, 3, "wakeup", 31, 5, slot=2)
    kernel.keep_of(By.CLASS, 0, "queue", 2, 7, slot=5)
    families = _parsed(openmetrics.text(source.snapshot(), BUILD))
    for measure in MEASURES:
        assert families[f"pyland_{measure.metric}"].type == "histogram"
        assert families[f"pyland_{measure.metric}"].unit == ("seconds" if measure.in_time else "")
    name = "pyland_wakeup_to_cpu_seconds"
    for le, below in (("8e-06", 0), ("1.6e-05", 30), ("1073.741824", 30), ("+Inf", 35)):
        assert _sample(families, f"{name}_bucket", **{"class": "game", "le": le}) == below
    assert _sample(families, f"{name}_count", **{"class": "game"}) == 35
    total_us = 30 * 8 + 5 * 2**30
    assert _sample(families, f"{name}_sum", **{"class": "game"}) == pytest.approx(total_us / 1e6)
    assert _sample(families, "pyland_queue_length_bucket", **{"class": "0", "le": "1.0"}) == 0
    assert _sample(families, "pyland_queue_length_bucket", **{"class": "0", "le": "3.0"}) == 7


def test_there_are_no_histograms_unless_they_are_always_kept(kernel: Kernel) -> None:
    kernel.keep("wakeup", 4, 30)
    assert "_bucket" not in openmetrics.text(kernel.source().snapshot(), BUILD)
