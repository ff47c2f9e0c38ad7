# SPDX-License-Identifier: GPL-2.0-only
"""Finds clang for BPF, and a libbpf that knows struct_ops links; compiles BPF programs.

Every failure is a ToolchainError: one line that says what to install.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLANG_MIN = 16  # weak kfuncs and BTF declaration tags as the object uses them
LIBBPF_MIN = (1, 4)  # the first with `.struct_ops.link` and optional struct_ops members
CLANG_NEWEST_TRIED = 40

# The names that bpf_tracing.h has for architectures, in __TARGET_ARCH_*.
BPF_ARCHITECTURES = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "ppc64le": "powerpc",
    "riscv64": "riscv",
    "s390x": "s390",
    "loongarch64": "loongarch",
}

# All that BPF, C and Python share; the layout number depends on it.
LAYOUT_SOURCES = (
    "bpf/intf.h",
    "bpf/records_intf.h",
    "bpf/histograms_intf.h",
    "bpf/shared_state.h",
    "bpf/trace_intf.h",
    "csrc/pyland_native.h",
    "csrc/pyland_trace.h",
    "bpf/hardware_intf.h",
    "csrc/pyland_hardware.h",
    "pyproject.toml",
)


def layout() -> str:
    """The C literal of `PYLAND_LAYOUT`: a number for these headers and this version."""
    digest = hashlib.sha256(b"\0".join((ROOT / name).read_bytes() for name in LAYOUT_SOURCES))
    return f"0x{digest.hexdigest()[:16]}ULL"


class ToolchainError(Exception):
    """The build lacks something or has it too old; the message says what to install."""


@dataclass(frozen=True)
class Libbpf:
    """The headers and the shared library of one libbpf, and where it was found."""

    version: tuple[int, int]
    include: Path
    library: Path
    origin: str


def _output(*command: str) -> str | None:
    """Standard output of a command, stripped; None when the command is absent or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def clang_version(command: str) -> int | None:
    """Major version of this clang, or None when it does not run."""
    found = re.search(r"clang version (\d+)", _output(command, "--version") or "")
    return int(found[1]) if found else None


def _clangs() -> dict[int, str]:
    """The command of each version that is installed; only that of CLANG if it is set."""
    wanted = os.environ.get("CLANG")
    names = [wanted] if wanted else ["clang"]
    if not wanted:
        numbered = (f"clang-{number}" for number in range(CLANG_MIN, CLANG_NEWEST_TRIED + 1))
        names += [name for name in numbered if shutil.which(name)]
    found: dict[int, str] = {}
    for name in names:
        version = clang_version(name)
        if version is not None:
            found.setdefault(version, name)
    return dict(sorted(found.items()))


def clangs() -> dict[int, str]:
    """The command of each clang that can compile the BPF program, oldest first."""
    return {version: name for version, name in _clangs().items() if version >= CLANG_MIN}


def find_clang() -> str:
    """The newest clang of the machine, or the one in CLANG."""
    found = _clangs()
    newest = max(found, default=0)
    if newest < CLANG_MIN:
        wanted = os.environ.get("CLANG", "clang")
        seen = f"{found[newest]} is version {newest}" if found else f"no {wanted} was found"
        raise ToolchainError(
            f"the BPF program needs clang {CLANG_MIN} or newer and {seen}: "
            f"apt-get install clang-{CLANG_MIN} (Debian 12) or clang, or set CLANG"
        )
    return found[newest]


def find_strip(clang: str) -> str | None:
    """The llvm-strip of this clang, or None; an object that is not stripped works too."""
    found = _output(clang, "--print-prog-name=llvm-strip")
    return shutil.which(found) if found else None


def _libbpf_at(include: Path, libraries: list[Path], origin: str) -> Libbpf | None:
    """The libbpf with these headers and one of these libraries; None if either is missing."""
    header = include / "bpf" / "libbpf_version.h"
    library = next((path for path in libraries if path.exists()), None)
    if library is None or not header.exists():
        return None
    text = header.read_text(encoding="utf-8")
    numbers = dict(re.findall(r"define LIBBPF_(MAJOR|MINOR)_VERSION (\d+)", text))
    version = (int(numbers.get("MAJOR", 0)), int(numbers.get("MINOR", 0)))
    return Libbpf(version, include, library.resolve(), origin)


def _libbpf_in_prefix(prefix: Path) -> Libbpf | None:
    """The libbpf under a prefix, in the layout of a Debian package or of `make install`."""
    for root in (prefix / "usr", prefix):
        libraries = [
            path
            for pattern in ("lib/*/libbpf.so.1", "lib64/libbpf.so.1", "lib/libbpf.so.1")
            for path in sorted(root.glob(pattern))
        ]
        found = _libbpf_at(root / "include", libraries, str(prefix))
        if found is not None:
            return found
    return None


def cache_prefix() -> Path:
    """Where `make setup` unpacks a libbpf if that of the system is too old."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "pyland" / "libbpf"


def find_libbpf() -> Libbpf:
    """The libbpf in PYLAND_LIBBPF_PREFIX, or else the system's, or else that of `make setup`."""
    prefix = os.environ.get("PYLAND_LIBBPF_PREFIX")
    seen = []
    if prefix:
        seen.append(_libbpf_in_prefix(Path(prefix)))
    else:
        include = _output("pkg-config", "--variable=includedir", "libbpf")
        libdir = _output("pkg-config", "--variable=libdir", "libbpf")
        if include and libdir:
            seen.append(_libbpf_at(Path(include), [Path(libdir) / "libbpf.so.1"], "pkg-config"))
        seen.append(_libbpf_in_prefix(cache_prefix()))
    found = [libbpf for libbpf in seen if libbpf is not None]
    for libbpf in found:
        if libbpf.version >= LIBBPF_MIN:
            return libbpf
    wanted = ".".join(map(str, LIBBPF_MIN))
    old = ", ".join(f"{b.version[0]}.{b.version[1]} ({b.origin})" for b in found)
    raise ToolchainError(
        f"the build needs libbpf {wanted} or newer and found {old or 'none'}: `make setup` fetches "
        "it, else install libbpf-dev (Debian 13, or Debian 12 backports) or set "
        "PYLAND_LIBBPF_PREFIX"
    )


def compile_bpf(
    source: Path,
    output: Path,
    libbpf: Libbpf,
    *include: Path,
    clang: str | None = None,
    flags: Sequence[str] = (),
) -> None:
    """Compile a BPF program with BTF and without DWARF; ``output`` is replaced whole or stays."""
    machine = platform.machine()
    if machine not in BPF_ARCHITECTURES:
        raise ToolchainError(f"no BPF architecture is known for {machine}")
    clang = clang or find_clang()
    command = [
        *(clang, "-O2", "-g", "-target", "bpf", "-mcpu=v3"),
        f"-D__TARGET_ARCH_{BPF_ARCHITECTURES[machine]}",
        f"-DPYLAND_LAYOUT={layout()}",
        f"-ffile-prefix-map={ROOT}=.",  # the object does not depend on the folder of the build
        *("-Wall", "-Werror=implicit-function-declaration"),
        *(f"-I{folder}" for folder in (source.parent, *include, libbpf.include)),
        *flags,
    ]
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        # Debian has asm/ there, where clang looks only for the host's own target.
        command += ["-idirafter", f"/usr/include/{multiarch}"]
    output.parent.mkdir(parents=True, exist_ok=True)
    # A pyland that starts during the build must find a whole object.
    unfinished = output.with_name(f"{output.name}.{os.getpid()}")
    try:
        if subprocess.run(
            [*command, "-c", str(source), "-o", str(unfinished)], check=False
        ).returncode:
            raise ToolchainError(f"{clang} could not compile {source}")
        strip = find_strip(clang)
        if (
            strip is not None
            and subprocess.run([strip, "-g", str(unfinished)], check=False).returncode
        ):
            raise ToolchainError(f"{strip} could not strip {source.stem}")
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    """Prints what the build uses; with ``libbpf``, only that. 1 when something is missing."""
    try:
        words = [str(find_libbpf())]
        if arguments != ["libbpf"]:
            words.append(find_clang())
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    print(*words)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
