# SPDX-License-Identifier: GPL-2.0-only
"""The BPF object as every clang of this machine makes it, for the tests: in build/bpf/clang-N.

`python -m tools.lab.objects` compiles those that are older than their sources. What a user has
was made by one of them, and the verifier's view of it depends on which.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.build import toolchain

ROOT = Path(__file__).resolve().parents[2]
LOADED = ROOT / "pyland" / "pyland.bpf.o"
"""What pyland loads, and another object can take the place of in a mount namespace of its own."""

_FOLDER = ROOT / "build" / "bpf"
_SOURCE = ROOT / "bpf" / "pyland.bpf.c"


def built() -> list[Path]:
    """The objects that have been made, the oldest clang's first."""
    found = _FOLDER.glob("clang-*/pyland.bpf.o")
    return sorted(found, key=lambda path: int(path.parent.name.rpartition("-")[2]))


def is_fresh(target: Path) -> bool:
    """Was it made from the sources as they are?"""
    inputs = [*_SOURCE.parent.glob("*.[ch]"), ROOT / "tools" / "build" / "toolchain.py"]
    inputs += [ROOT / name for name in toolchain.LAYOUT_SOURCES]
    return target.exists() and target.stat().st_mtime > max(i.stat().st_mtime for i in inputs)


def build() -> list[Path]:
    """All objects, those compiled that are missing or older than their sources."""
    made = []
    for version, clang in toolchain.clangs().items():
        target = _FOLDER / f"clang-{version}" / LOADED.name
        if not is_fresh(target):
            compile_one(target, clang=clang)
        made.append(target)
    for path in built():
        if path not in made:
            path.unlink()  # of a clang that is not here any more
    return made


def compile_one(target: Path, *, clang: str | None = None, flags: Sequence[str] = ()) -> None:
    """The object by this clang, the newest if none is named, with further flags."""
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
