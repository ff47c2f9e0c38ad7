# SPDX-License-Identifier: GPL-2.0-only
"""Bad input: one clear line, exit code 2, nothing changed."""

import os
from pathlib import Path

import pytest

from pyland.cli.main import main
from pyland.errors import UsageError
from pyland.kernel import checks, loader
from pyland.kernel.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--slice-us", "0"], "--slice-us 0: it takes 100 to 1000000"),
        (["--slice-us", "x"], "invalid int value: 'x'"),
        (["--slice-us-min", "30000"], "--slice-us-min 30000 is longer than --slice-us 20000"),
        (["--lag-us", "1"], "--lag-us 1: it takes"),
        (["--stats", "-1"], "--stats -1: it takes"),
        (["--stats", "nan"], "--stats nan: it takes"),
        (["--exit-dump-len", "-5"], "--exit-dump-len -5: it takes"),
        (["--sliceus", "5"], "unrecognized arguments: --sliceus 5"),
        (["extra"], "unrecognized arguments: extra"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.startswith("pyland: ")
    assert printed.err.count("\n") == 1


def test_version_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("pyland ")


def test_slices_are_in_nanoseconds_for_policies() -> None:
    slices = Settings(slice_us=5000, slice_us_min=500).slices
    assert (slices.longest_ns, slices.shortest_ns) == (5_000_000, 500_000)


@pytest.mark.parametrize("version", ["v1.3", "1.1.2", "v0.8"])
def test_an_old_libbpf_is_named(version: str) -> None:
    with pytest.raises(UsageError, match=r"libbpf .* is too old: pyland needs 1\.4"):
        checks.check_libbpf(version)


@pytest.mark.parametrize("version", ["v1.4", "1.5", "v1.10", "2.0"])
def test_a_new_libbpf_is_taken(version: str) -> None:
    checks.check_libbpf(version)


def test_what_the_machine_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs root: run it with sudo"):
        checks.check_machine()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no sched_ext.*6\.12.*CONFIG_SCHED_CLASS_EXT"):
        checks.check_machine()
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path)
    monkeypatch.setattr(checks, "KERNEL_BTF", tmp_path / "absent")
    with pytest.raises(UsageError, match="no BTF"):
        checks.check_machine()


def test_a_scheduler_that_is_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path)
    (tmp_path / "state").write_text("disabled\n")
    checks.check_no_scheduler()
    (tmp_path / "state").write_text("enabled\n")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/ops").write_text("lavd\n")
    with pytest.raises(UsageError, match="another scheduler is loaded: lavd"):
        checks.check_no_scheduler()


def test_a_kernel_that_no_scheduler_can_be_loaded_on_is_explained() -> None:
    libbpf = "libbpf: extern 'scx_bpf_kick_cpu': func_proto [7] incompatible with vmlinux [9]"
    assert "BTF was made by pahole 1.31 or later" in loader.load_problem(libbpf)
    assert loader.load_problem("no memory").startswith("no memory (--verbose")
