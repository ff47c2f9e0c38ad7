# SPDX-License-Identifier: GPL-2.0-only
"""The commands that ask a running pyland: `pyland swap` and `pyland status`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyland.cli import status, swap
from pyland.cli.main import main
from pyland.supervisor import control
from tests.support.policy_files import MINE


class Answers:
    """Stands for a running pyland: notes what it is asked, and gives one answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.asked: list[Mapping[str, Any]] = []

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(request)
        return self.answer


@pytest.mark.parametrize(
    "command", [["status"], ["swap", "--policy", "fifo"], ["swap", "--reload"]]
)
def test_without_a_running_pyland_that_is_told(
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    absent = tmp_path / "control.sock"
    monkeypatch.setattr(control.ask, "__defaults__", (absent, 30.0))
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"pyland: pyland does not run here: no process listens at {absent}\n"


def test_a_swap_says_what_took_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = Answers({"ok": True, "previous": "deadline", "policy": "rr", "pause_us": 120})
    monkeypatch.setattr(swap, "ask", running)
    monkeypatch.chdir(tmp_path)
    assert main(["swap", "--policy", "rr", "--policy-opt", "a=1", "--policy-opt", "b=2"]) == 0
    assert capsys.readouterr().out == "pyland: deadline -> rr, paused 120 us\n"
    running.answer["handed_over"] = 17
    assert main(["swap", "--policy", "rr", "--layer", "build"]) == 0
    assert running.asked.pop()["layer"] == "build"
    assert main(["swap", "--reload", "--layer", "build"]) == 2
    assert "--reload keeps the policy" in capsys.readouterr().err
    assert main(["swap", "--reload"]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "pyland: deadline -> rr, 17 tasks handed over, paused 120 us"
    assert running.asked == [
        {"command": "swap", "policy": "rr", "options": ["a=1", "b=2"], "folder": str(tmp_path)},
        {"command": "swap", "reload": True},
    ]


def test_a_refused_swap_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "ask", Answers({"ok": False, "error": "no\n\x1b[2Jgood"}))
    assert main(["swap", "--reload"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "pyland: swap: no\\n\\x1b[2Jgood\n"


def test_a_status_is_readable_or_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"policy": "rr", "options": {}, "process": {"pid": 5, "on": True}, "swaps": 2}
    monkeypatch.setattr(status, "ask", Answers({"ok": True, "status": found}))
    assert main(["status"]) == 0
    assert capsys.readouterr().out == (
        "policy: rr\noptions: none\nprocess:\n  pid: 5\n  on: yes\nswaps: 2\n"
    )
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    monkeypatch.setattr(status, "ask", Answers({"ok": False, "error": "not now"}))
    assert main(["status"]) == 2
    assert capsys.readouterr().err == "pyland: status: not now\n"


@pytest.mark.usefixtures("readable")
def test_a_folder_that_is_gone_keeps_only_what_would_be_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "mine.py").write_text(MINE.format(name="mine"))
    (tmp_path / "mine.py").chmod(0o644)
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for arguments in (
        ["policies"],
        ["--help-policy", "--policy", "fifo"],
        ["--help-policy", "--policy", f"{tmp_path}/mine.py"],
    ):
        assert main(arguments) == 0
    answers = Answers({"ok": True, "previous": "a", "policy": "fifo", "pause_us": 1})
    monkeypatch.setattr("pyland.cli.swap.ask", answers)
    assert main(["swap", "--policy", "fifo"]) == 0
    assert answers.asked[0]["folder"] == "/dev/null"
    assert capsys.readouterr().err == ""
    for command in (["--help-policy"], ["swap"]):
        assert main([*command, "--policy", "./mine.py:Mine"]) == 2
        assert capsys.readouterr().err == (
            "pyland: --policy ./mine.py:Mine: the current folder: No such file or directory; give "
            "the file's whole path\n"
        )
    assert main(["--help-policy", "--policy", "mine:Mine"]) == 2
    assert "no module 'mine', installed, and the current folder is gone" in capsys.readouterr().err
