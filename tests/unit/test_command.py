# SPDX-License-Identifier: GPL-2.0-only
"""Bad input: one clear line, exit code 2, nothing changed."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from pyland.cli.main import main
from pyland.errors import ScheduleError, UsageError
from pyland.host import checks
from pyland.loading.wanted import Wanted
from pyland.policies import BUILTINS
from pyland.supervisor.loader import KernelExit
from pyland.supervisor.settings import Settings


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
        (["--histograms"], "--histograms: it takes --metrics"),
        (["--sliceus", "5"], "unrecognized arguments: --sliceus 5"),
        (["extra"], "unrecognized arguments: extra"),
        (["--policy-opt"], "--policy-opt: expected one argument (see pyland --help)"),
        (["--help-policy", "--policy", "deadlin"], "no such policy (did you mean deadline?)"),
        (["--help-policy", "--policy", "absent:Mine"], "there is no module 'absent', installed or"),
        (["--help-policy", "--policy", "./absent.py"], "absent.py: No such file or directory"),
        (["--help-policy", "--policy", "json:Mine"], "has no class 'Mine'; it has no policy"),
        (["--help-policy", "--policy-opt", "x=1"], "policy deadline has no 'x'; it has: "),
        (["--help-policy", "--policy-opt", "x"], "--policy-opt x: it takes name=value"),
        (["--help-policy", "--policy", "fifo", "-l"], "policy fifo has no 'percpu_local'"),
        (["policies", "extra"], "unrecognized arguments: extra (see pyland policies --help)"),
        (["status", "--jso"], "unrecognized arguments: --jso (see pyland status --help)"),
        (["swap"], "swap: it takes --policy POLICY, or --reload"),
        (["swap", "--policy-opt", "a=b"], "swap: it takes --policy POLICY, or --reload"),
        (["swap", "--reload", "--policy", "fifo"], "swap: --reload keeps the policy and its"),
        (["swap", "--reload", "--policy-opt", "a=b"], "swap: --reload keeps the policy and its"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/")  # all users can read it
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.startswith("pyland: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["run"]])
def test_version_needs_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--version"]) == 0
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
    monkeypatch.setattr(checks, "check_rights", lambda: None)
    monkeypatch.setattr(checks, "KERNEL", tmp_path / "absent")
    with pytest.raises(UsageError, match="/sys is not mounted: run `mount -t sysfs"):
        checks.check_machine()
    monkeypatch.setattr(checks, "KERNEL", tmp_path)
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path / "absent")
    with pytest.raises(UsageError, match=r"no sched_ext.*6\.12.*CONFIG_SCHED_CLASS_EXT"):
        checks.check_machine()
    monkeypatch.setattr(checks, "SCHED_EXT", tmp_path)
    monkeypatch.setattr(checks, "KERNEL_BTF", tmp_path / "absent")
    with pytest.raises(UsageError, match="no BTF"):
        checks.check_machine()


@pytest.mark.usefixtures("readable")
def test_what_a_policy_does_is_shown_without_a_kernel(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "from pyland import Policy, option\n"
        "class Mine(Policy):\n"
        '    """First line.\n\n    Second paragraph.\n    """\n'
        "    gap_ms: int = option(3, 'the gap', least=0, most=9)\n"
        "    side: str = option('left', 'the side', choices=['left', 'right'])\n"
        "    local: bool = option(False, 'keep it')\n"
        "    def enqueue(self, task): pass\n"
    )
    (tmp_path / "mine.py").chmod(0o644)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "check_machine", None)
    assert main(["--help-policy", "--policy", "mine:Mine", "--policy-opt", "gap-ms=1"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (
        "mine: First line.\n\nSecond paragraph.\n\noptions (--policy-opt NAME=VALUE):\n"
        "  gap_ms: a whole number from 0 to 9 (default 3)\n      the gap\n"
        "  side: left or right (default left)\n      the side\n"
        "  local: yes or no (default no)\n      keep it\n"
    )


def test_the_default_policy_takes_percpu_local(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help-policy", "--percpu-local"]) == 0
    assert capsys.readouterr().out.startswith("deadline: ")


def test_policies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in BUILTINS:
        (line,) = [line for line in lines if line.split()[0] == name]
        assert line.endswith("  built-in")
        assert len(line.split()) > 3
    assert main(["policies", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed if one["origin"] == "built-in"] == list(BUILTINS)
    assert set(listed[0]) == {"name", "summary", "origin", "error"}


def test_the_policy_is_passed_on_unread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Root does not import the policy: the session lets a process without rights check it."""
    (tmp_path / "mine.py").write_text("raise SystemError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checks, "check_machine", lambda: None)
    started: list[tuple[Any, ...]] = []

    class Session:
        def __init__(self, *arguments: Any) -> None:
            *passed_on, service = arguments
            assert not service  # no service manager has started this
            started.append(tuple(passed_on))

        def run(self) -> str:
            return "stopped by a signal"

        def totals(self) -> dict[str, int]:
            return {"late": 3}

    monkeypatch.setattr("pyland.supervisor.session.Session", Session)
    assert main(["--policy", "mine", "--policy-opt", "a=1", "-l", "--strict", "-s", "5000"]) == 0
    assert capsys.readouterr().out == "pyland: ended: stopped by a signal\n  late 3\n"
    assert started == [
        (
            Settings(strict=True, slice_us=5000),
            Wanted("mine", ("a=1", "percpu_local=yes"), str(tmp_path)),
        )
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_is_only_shown_is_not_run_as_root() -> None:
    """Under sudo the policy's module is imported by the calling user."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "mine.py").write_text(
            "import os\nfrom pyland import Policy\nclass Mine(Policy):\n"
            "    name = f'{os.getresuid()} {os.getresgid()} {os.getgroups()}'\n"
            "    def enqueue(self, task): pass\n"
        )
        Path(folder, "mine.py").chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-m", "pyland", "--help-policy", "--policy", f"{folder}/mine.py"],
            env={**os.environ, "SUDO_UID": "65533", "SUDO_GID": "65533"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    ids = (65533,) * 3
    assert done.stdout.startswith(f"{ids} {ids} []: ")


def test_what_the_kernel_says_of_tasks_is_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of a task is an escape sequence and a newline; reason and dump contain it."""
    pwned = "\x1b]0;pwned\x07\npyland: ended"
    end = KernelExit(1026, "runnable task stall", f"{pwned}[7] failed to run", "", False)

    class Session:
        def __init__(self, *_: Any) -> None:
            pass

        def run(self) -> str:
            raise ScheduleError(f"the kernel ended it: {end}", f"CPU states\n{pwned}\n  R {pwned}")

        def totals(self) -> dict[str, int]:
            return {}

    monkeypatch.setattr(checks, "check_machine", lambda: None)
    monkeypatch.setattr("pyland.supervisor.session.Session", Session)
    assert main([]) == 1
    printed = capsys.readouterr()
    assert printed.out == (
        "pyland: ended: the kernel ended it: runnable task stall "
        r"(\x1b]0;pwned\x07\npyland: ended[7] failed to run)" + "\n"
    )
    told = r"\x1b]0;pwned\x07"
    assert printed.err == (
        f"pyland: the kernel's dump:\n  CPU states\n  {told}\n  pyland: ended\n"
        f"  R {told}\n  pyland: ended\n"
    )
