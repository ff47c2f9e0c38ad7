# SPDX-License-Identifier: GPL-2.0-only
"""What a start and the small commands import: each module costs every one of them its time."""

from __future__ import annotations

import subprocess
import sys

import pytest

PRINTED = """
import contextlib, os, sys
from pyland.cli.main import main
with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    with contextlib.redirect_stderr(nowhere), contextlib.suppress(SystemExit):
        main(sys.argv[1:])
print(*sys.modules)
"""
START = """
import sys
from pyland import policies
from pyland.cli import run
from pyland.host import checks, compaction
from pyland.loading.wanted import Wanted
from pyland.supervisor import service, session
Wanted("deadline").choose()
policies.load_all()
run.build_parser().parse_args([])
print(*sys.modules)
"""
DEAR = {
    *("dataclasses", "inspect", "ast", "importlib.metadata", "email", "subprocess", "secrets"),
    *("hashlib", "platform", "datetime", "psutil", "numpy", "asyncio", "pyland.testing"),
}
"""Not one of them is needed to schedule; most cost as much as ten of pyland's own."""
OF_POLICIES = {"pyland.policy", "pyland.loading.finder", "pyland._native", "pathlib", "random"}


def _imported(code: str, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_start_imports_nothing_dear() -> None:
    """The supervisor imports none of them before it loads the object; the worker imports none."""
    found = _imported(START)
    assert {"pyland.engine.worker", "pyland.policies.layered.policy", "traceback"} <= found
    assert not DEAR & found


@pytest.mark.parametrize("arguments", [["status"], ["status", "--help"]])
def test_a_small_command_imports_no_policies(arguments: list[str]) -> None:
    found = _imported(PRINTED, *arguments)
    assert "pyland.supervisor.asking" in found
    assert not (DEAR | OF_POLICIES) & found


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["swap", "--help"], ["reload", "--help"]]
)
def test_help_and_version_import_nothing_dear(arguments: list[str]) -> None:
    assert not (DEAR | {"pyland._native", "pyland.supervisor.session"}) & _imported(
        PRINTED, *arguments
    )


def test_all_public_names_are_there() -> None:
    """The package imports them only when they are asked for."""
    code = "import pyland; print(*(n for n in pyland.__all__ if getattr(pyland, n, None) is None))"
    assert _imported(code) == set()
    assert _imported("import pyland; print(hasattr(pyland, 'Policies'))") == {"False"}
