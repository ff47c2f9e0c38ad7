# SPDX-License-Identifier: GPL-2.0-only
"""`pyland trace` before it traces: its options, and its file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyland.cli import main
from pyland.errors import UsageError
from pyland.trace.options import Options, When, parse_size
from pyland.trace.output import Output


@pytest.mark.parametrize(
    ("text", "share", "limit_ns"),
    [
        ("p99>5ms", 0.99, 5_000_000),
        ("p99.9>1.5s", 0.999, 1_500_000_000),
        ("max>100us", 1.0, 100_000),
        ("p50>0.5ms", 0.5, 500_000),
    ],
)
def test_conditions(text: str, share: float, limit_ns: int) -> None:
    assert When.parse(text) == When(text, share, limit_ns)


@pytest.mark.parametrize(
    "text", ["p99>5", "p98>5ms", "p99<5ms", "p99>-5ms", "p99>0ms", "p99>nanms", "max>2000000s", ">"]
)
def test_conditions_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="such as p99>5ms"):
        When.parse(text)


def test_sizes() -> None:
    assert (parse_size("512K"), parse_size("16M"), parse_size("1g")) == (1 << 19, 1 << 24, 1 << 30)
    for text in ("16", "M", "-1M", "0M", "5G", "1.5M", "\u0661M", "9999999999M"):
        with pytest.raises(UsageError, match="--ring"):
            parse_size(text)


def test_the_rings_of_all_cpus_share_the_memory() -> None:
    options = Options("a", ring_bytes=16 << 20)
    assert options.slots(2) == 1 << 18
    assert options.slots(3) == 1 << 17
    with pytest.raises(UsageError, match="it takes 32768K or more"):
        options.slots(1024)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e9])
def test_times_that_cannot_be(seconds: float) -> None:
    with pytest.raises(UsageError, match="--seconds"):
        Options("a", seconds=seconds)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "-o"),
        (["-o", ""], "-o: it takes the name of a file"),
        (["-o", "a", "--seconds", "soon"], "--seconds"),
        (["-o", "a", "--ring", "much"], "--ring much"),
        (["-o", "a", "--when", "late"], "--when late"),
    ],
)
def test_one_line_for_a_mistake(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["trace", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_a_new_file_without_a_trace_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "new"
    output = Output(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    output.close(written=False)
    assert not path.exists()


def test_an_old_file_stays_until_the_trace_begins(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("something")
    Output(str(path)).close(written=False)
    assert path.read_text() == "something"
    output = Output(str(path))
    output.begin()
    output.close(written=True)
    assert path.read_text() == ""


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    for name, why in (
        (str(tmp_path), "Is a directory"),
        (f"{tmp_path}/no/file", "No such file"),
        ("a\0b", "null"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(UsageError, match=why):
            Output(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_root_opens_files_with_the_rights_of_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sudo pyland trace` gives its caller no file that the caller could not write."""
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    roots, own = tmp_path / "roots", tmp_path / "own"
    roots.mkdir(mode=0o755)
    own.mkdir(mode=0o755)
    os.chown(own, 65534, 65534)
    secret = roots / "secret"
    secret.write_text("root's")
    secret.chmod(0o666)
    (own / "link").symlink_to(secret)
    with pytest.raises(UsageError, match="Permission denied"):
        Output(str(roots / "new"))
    with pytest.raises(UsageError, match="the file belongs to user 0"):
        Output(str(secret))
    with pytest.raises(UsageError, match="levels of symbolic links"):
        Output(str(own / "link"))
    assert secret.read_text() == "root's"
    output = Output(str(own / "new"))
    assert os.fstat(output.fd).st_uid == 65534
    os.rename(own, tmp_path / "moved")
    own.symlink_to(roots)
    (roots / "new").write_text("root's")
    output.close(written=False)
    assert (roots / "new").exists(), "root's file is removed in place of the caller's"
    assert os.geteuid() == 0
