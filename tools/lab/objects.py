# SPDX-License-Identifier: GPL-2.0-only
"""Compiles the BPF object with every clang of this machine, into build/bpf/clang-N.

`python -m tools.lab.objects` compiles the objects that are older than their sources. Whether the
verifier accepts an object depends on the clang that made it, so the tests load them all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.build import toolchain

ROOT = Path(__file__).resolve().parents[2]
LOADED = ROOT / "pyland" / "pyland.bpf.o"
"""The object that pyland loads; in its own mount namespace a test can put another in its place."""

_FOLDER = ROOT / "build" / "bpf"
_SOURCE = ROOT / "bpf" / "pyland.bpf.c"


def built() -> list[Path]:
    """The compiled objects, that of the oldest clang first."""
    found = _FOLDER.glob("clang-*/pyland.bpf.o")
    return sorted(found, key=lambda path: int(path.parent.name.rpartition("-")[2]))


def is_fresh(target: Path) -> bool:
    """True if the object is newer than its sources."""
    inputs = [*_SOURCE.parent.glob("*.[ch]"), ROOT / "tools" / "build" / "toolchain.py"]
    inputs += [ROOT / name for name in toolchain.LAYOUT_SOURCES]
    return target.exists() and target.stat().st_mtime > max(i.stat().st_mtime for i in inputs)


def build() -> list[Path]:
    """All objects; compiles the missing ones and those older than their sources."""
    made = []
    for version, clang in toolchain.clangs().items():
        target = _FOLDER / f"clang-{version}" / LOADED.name
        if not is_fresh(target):
            compile_one(target, clang=clang)
        made.append(target)
    for path in built():
        if path not in made:
            path.unlink()  # its clang is not installed
    return made


def compile_one(target: Path, *, clang: str | None = None, flags: Sequence[str] = ()) -> None:
    """Compile the object with this clang or the newest one, with further flags."""
    libbpf = toolchain.find_libbpf()
    toolchain.compile_bpf(_SOURCE, target, libbpf, clang=clang, flags=flags)


def main(words: Sequence[str]) -> int:
    """Builds all; 1 when one cannot be built."""
    if words:
        print("usage: python -m tools.lab.objects", file=sys.stderr)
        return 2
    try:
        for path in build():
            print(path.relative_to(ROOT))
    except toolchain.ToolchainError as error:
        print(f"objects: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
