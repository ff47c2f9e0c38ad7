# SPDX-License-Identifier: GPL-2.0-only
"""`pyland latency` as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_latency(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command's end, at the server that listens at `path`."""
    program = "import sys; from pyland.cli import main; sys.exit(main.main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", program, "latency", "--stats-socket", str(path), *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
