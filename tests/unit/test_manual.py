# SPDX-License-Identifier: GPL-2.0-only
"""The manual page and the completions that the build makes from the parsers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pyland.cli import main, run
from tools.build import manual


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    manual.make(folder)
    return folder


def _options() -> set[str]:
    actions = run.build_parser()._actions
    return {name for action in actions for name in action.option_strings if name != "-h"}


def test_all_files_are_made_and_the_same_each_time(made: Path, tmp_path: Path) -> None:
    manual.make(tmp_path)
    for name in manual.FILES:
        text = (made / name).read_text(encoding="utf-8")
        assert text
        assert text == (tmp_path / name).read_text(encoding="utf-8")


def test_the_page_has_every_command_and_option(made: Path) -> None:
    text = (made / "share/man/man1/pyland.1").read_text(encoding="utf-8").replace("\\-", "-")
    assert text.startswith(".TH PYLAND ")
    for name in main.COMMANDS:
        assert f"pyland {name}" in text
    for option in _options() - {"--help"}:
        assert re.search(rf"\\fB{option}\\fR", text), option


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_nothing_to_say_about_the_page(made: Path) -> None:
    page = made / "share/man/man1/pyland.1"
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "--policy-opt" in done.stdout.replace("\u2010", "-").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pyland", "mon"], {"monitor"}),
        (["pyland", "re"], {"reload"}),
        (["pyland", "--sli"], {"--slice-us", "--slice-us-min"}),
        (["pyland", "monitor", "--j"], {"--json"}),
        (["pyland", "swap", "--rel"], {"--reload"}),
    ],
)
def test_bash_completes(words: list[str], expected: set[str], made: Path) -> None:
    script = made / "share/bash-completion/completions/pyland"
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {script}\n"
        f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n"
        "$(complete -p pyland | sed -E 's/.*-F ([^ ]+) .*/\\1/') pyland\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    command = ["bash", "--norc", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
