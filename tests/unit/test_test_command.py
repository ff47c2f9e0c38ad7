# SPDX-License-Identifier: GPL-2.0-only
"""`make test` counts all results, and reports every failure."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.commands import load_command
from tools.checks import running

COMMAND = Path(__file__).resolve().parents[2] / "tools" / "test"


@pytest.fixture(autouse=True)
def _own_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks work on a tree of the test's own."""
    monkeypatch.setattr(running, "ROOT", tmp_path)
    monkeypatch.setattr(running, "RESULTS", tmp_path / "build")
    monkeypatch.setattr(running, "PYTHON", sys.executable)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/test as a module."""
    module = load_command(COMMAND, monkeypatch)
    monkeypatch.setattr(module, "ROOT", Path.cwd())
    return module


def write(folder: str, body: str) -> None:
    path = Path(folder) / "test_it.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"import os\nimport pytest\n{body}")


def test_without_an_environment_it_says_what_makes_one(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.use_own_python()
    assert ended.value.code == 2
    line = f"tools/test: there is no {Path.cwd() / '.venv'}: `make test` makes it\n"
    assert capsys.readouterr().err == line


def test_each_outcome_is_counted() -> None:
    write(
        "tests",
        "def test_a(): pass\n"
        "def test_b(): pass\n"
        "def test_c(): assert 0\n"
        "def test_d(): pytest.skip('no')\n",
    )
    assert running.pytest("it", "tests") == running.Outcome(passed=2, failed=1, skipped=1)


def test_tests_that_cannot_be_collected_are_a_failure() -> None:
    write("tests", "import nothing_of_this_name\n")
    assert running.pytest("it", "tests").failed


def test_a_run_that_dies_is_a_failure() -> None:
    write("tests", "def test_a(): os._exit(3)\n")
    outcome = running.pytest("it", "tests")
    assert outcome.failed == 1
    assert "3" in outcome.note


def test_a_selection_without_tests_is_a_failure() -> None:
    write("tests", "def test_a(): pass\n")
    assert running.pytest("it", "tests", "-k", "nothing").failed == 1


def test_a_selection_that_may_be_empty_is_a_skip_and_its_failures_count() -> None:
    write("tests", "def test_a(): assert 0\n")
    assert running.pytest("it", "tests", "-k", "nothing", may_be_empty=True).skipped == 1
    assert running.pytest("it", "tests", may_be_empty=True) == running.Outcome(failed=1)


def test_results_of_an_earlier_run_do_not_count() -> None:
    write("tests", "def test_a(): os._exit(3)\n")
    Path("build").mkdir()
    Path("build/it.xml").write_text('<testsuite tests="9" failures="0" errors="0" skipped="0"/>')
    assert running.pytest("it", "tests").passed == 0


def test_what_takes_too_long_is_ended_with_its_children() -> None:
    start = time.monotonic()
    assert running.call("sh", "-c", "sleep 60 & wait", seconds=0.2) == 124
    assert time.monotonic() - start < 10


def test_a_quiet_command_is_shown_when_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    assert running.call("sh", "-c", "echo all well", quiet=True) == 0
    assert running.call("sh", "-c", "echo the reason; exit 3", quiet=True) == 3
    out = capfd.readouterr().out
    assert "\nall well" not in out
    assert "\nthe reason" in out


@pytest.mark.parametrize("outcomes", [(0, 0), (0, 1), (1, 0)])
def test_every_stage_runs_and_the_totals_come_last(
    command: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    outcomes: tuple[int, int],
) -> None:
    def stage(number: int) -> object:
        outcome = running.Outcome(passed=2, failed=outcomes[number], skipped=1)
        return running.Stage(f"s{number}", "a stage", lambda: outcome)

    monkeypatch.setattr(command, "STAGES", [stage(0), stage(1)])
    monkeypatch.setattr(sys, "argv", ["test"])
    failed = sum(outcomes)
    assert command.main() == (1 if failed else 0)
    assert capsys.readouterr().out.splitlines()[-1] == f"4 passed, {failed} failed, 2 skipped"


def test_the_tests_that_failed_are_known_by_their_ids() -> None:
    write(
        "tests",
        "def test_a(): pass\n"
        "@pytest.mark.parametrize('n', ['1 2', 'x'])\n"
        "def test_b(n): assert n == 'x'\n"
        "@pytest.fixture\n"
        "def broken(): assert 0\n"
        "def test_c(broken): pass\n",
    )
    assert running.pytest("it", "tests", "-o", "junit_family=xunit1").failed == 2
    wrong = running.failures("it")
    assert wrong == ["tests/test_it.py::test_b[1 2]", "tests/test_it.py::test_c"]
    again = running.pytest("again", "tests", "-o", "junit_family=xunit1", files=wrong)
    assert (again.passed, again.failed) == (0, 2)
    assert running.failures("nothing") == []


@pytest.mark.parametrize("second", [running.Outcome(passed=1), running.Outcome(failed=1)])
@pytest.mark.parametrize("name", ["kernel", "kernel-many"])
def test_what_fails_by_the_clock_is_tried_once_more(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, second: running.Outcome
) -> None:
    Path("tools").mkdir()
    Path("tools/vm").touch()
    monkeypatch.setattr(command, "failures", lambda _: ["tests/kernel/test_it.py::test_a"])
    outcomes = [running.Outcome(passed=7, failed=1), second]
    monkeypatch.setattr(command, "pytest", lambda *_, **__: outcomes.pop(0))
    (stage,) = (one for one in command.in_the_lab(long=False) if one.name == name)
    outcome = stage.run()
    repeated = name == "kernel" and second.passed
    assert (outcome.passed, outcome.failed) == ((8, 0) if repeated else (7, 1))
    assert ("test_a" in outcome.note) == bool(repeated)
    assert len(outcomes) == (1 if name == "kernel-many" else 0)


@pytest.mark.parametrize(
    ("program", "outcome"),
    [
        ("print('wait'); print('3 passed, 1 failed, 2 skipped')", running.Outcome(3, 1, 2)),
        (
            "print('wait'); raise SystemExit(7)",
            running.Outcome(failed=1, note="no totals, exit status 7"),
        ),
    ],
)
def test_a_stage_beside_others_counts_by_its_totals(
    capsys: pytest.CaptureFixture[str], program: str, outcome: running.Outcome
) -> None:
    assert running.in_another_process([sys.executable, "-c", program]) == outcome
    assert capsys.readouterr().out.startswith("wait\n")


def test_each_kernel_test_runs_with_or_without_long(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two tests, `make test` runs one and `make test-long` the other, in every stage."""
    Path("tools").mkdir()
    Path("tools/vm").touch()
    write("tests/kernel", "@pytest.mark.many\ndef test_a(): pass\n")
    Path("tests/kernel/test_other.py").touch()
    selected: list[str] = []
    files: list[object] = []

    def noted(*arguments: str, **options: object) -> running.Outcome:
        selected.append(arguments[arguments.index("-m") + 1])
        files.append(options["files"])
        return running.Outcome(passed=1)

    monkeypatch.setattr(command, "pytest", noted)
    stages = [*command.in_the_lab(long=False), *command.in_the_lab(long=True)]
    assert all(stage.run() == running.Outcome(passed=1) for stage in stages)
    half = len(stages) // 2
    short, long = selected[:half], selected[half:]
    names = {stage.name for stage in stages[half:]}
    assert names >= {"kernel-counted", "kernel-many", "kernel-6.12"}
    assert all(" and not long" in each for each in short)
    assert long == [each.replace(" and not long", " and long") for each in short]
    assert files[:4] == [(), [], ["tests/kernel/test_it.py"], []]


def test_only_the_wanted_files_are_read() -> None:
    write("tests", "def test_a(): pass\n")
    Path("tests/test_other.py").write_text("assert 0")
    assert running.pytest("it", "tests", files=["tests/test_it.py"]) == running.Outcome(passed=1)
