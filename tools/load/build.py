# SPDX-License-Identifier: GPL-2.0-only
"""The workload programs, compiled when they are needed and older than their sources.

`python -m tools.load.build` compiles all of them: outside the lab that is ten times as fast.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLAGS = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers"]
PROGRAMS = sorted(source.stem for source in HERE.glob("*.c"))


@functools.cache
def folder() -> Path:
    """The folder of the programs: in the tree's build folder, or a new one if that is read-only."""
    wanted = ROOT / "build" / "load"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        return Path(tempfile.mkdtemp(prefix="pyland-load-"))


@functools.cache
def program(name: str) -> Path:
    """Path of a compiled program; RuntimeError with the compiler's messages if it fails."""
    source, target = HERE / f"{name}.c", folder() / name
    inputs = [source, *HERE.glob("*.h")]
    if target.exists() and target.stat().st_mtime > max(i.stat().st_mtime for i in inputs):
        return target
    # Compiled beside it and renamed: another process may be about to run the old program.
    unfinished = target.with_name(f".{name}.{os.getpid()}")
    command = [os.environ.get("CC", "gcc"), *FLAGS, "-o", str(unfinished), str(source)]
    compiler = subprocess.run(command, capture_output=True, text=True, check=False)
    if compiler.returncode:
        raise RuntimeError(f"{name} did not compile:\n{compiler.stderr}")
    unfinished.replace(target)
    return target


def alias(name: str, other: str) -> Path:
    """Path of a compiled program under another name, which its tasks then have."""
    target = _aliases() / other
    if not target.exists():
        shutil.copy(program(name), target)
    return target


@functools.cache
def _aliases() -> Path:
    made = Path(tempfile.mkdtemp(prefix="pyland-load-"))
    made.chmod(0o755)  # other users run them, too
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


if __name__ == "__main__":
    for each in PROGRAMS:
        print(program(each))
