#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packages of another Debian suite, unpacked into a folder: the machine's packages do not change.

The mirror is that of the machine's configuration, and apt checks the signatures: the keys of the
debian-archive-keyring package sign all suites of Debian.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class DebianError(Exception):
    """A package cannot be downloaded or unpacked; the message is one line."""


def mirror(sources: Path = SOURCES) -> str:
    """The URI of the configured Debian archive; DebianError where there is none."""
    texts = [path.read_text() for path in sorted((sources / "sources.list.d").glob("*.sources"))]
    for text in texts:
        for stanza in re.split(r"\n\s*\n", text):
            fields: dict[str, str] = dict(
                re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE)
            )
            if "main" in fields.get("Components", "").split() and _is_debian(fields):
                return fields["URIs"].split()[0]
    lists = [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*.list"))]
    for path in lists:
        for line in path.read_text().splitlines() if path.exists() else ():
            found = re.match(
                r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+([a-z]+)(?:-updates)?\s+.*\bmain\b", line
            )
            if found and "security" not in found[1]:
                return found[1]
    raise DebianError(f"no Debian archive is configured in {sources}: packages cannot be fetched")


def _is_debian(fields: dict[str, str]) -> bool:
    return "debian-archive" in fields.get("Signed-By", "") and "security" not in fields["URIs"]


class Suite:
    """One suite's package lists, kept in a folder of their own."""

    def __init__(self, suite: str, state: Path) -> None:
        """Download the lists; DebianError when there is no such suite."""
        (state / "lists/partial").mkdir(parents=True, exist_ok=True)
        (state / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
        source = state / "sources.list"
        # Newer Debians trust this keyring only where a source names it.
        signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
        source.write_text(f"deb {signed}{mirror()} {suite} main\n")
        self._options = [
            f"-oDir::Etc::sourcelist={source}",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::State::Lists={state}/lists",
            f"-oDir::Cache={state}/cache",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oAPT::Sandbox::User=root",  # apt's own user cannot write to the folder
        ]
        self._suite = suite
        self._run("apt-get", "update", "-qq", "--error-on=any")

    def names(self, pattern: str) -> list[str]:
        """The names of packages that match the regular expression as a whole."""
        names = self._run("apt-cache", "pkgnames", "").split()
        return sorted(name for name in names if re.fullmatch(pattern, name))

    def download(self, packages: Sequence[str], folder: Path) -> None:
        """Download packages of this suite, also if the machine prefers another version."""
        wanted = [f"{name}/{self._suite}" for name in packages]
        self._run("apt-get", "download", "-qq", *wanted, cwd=folder)

    def _run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        command = [program, *self._options, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            why = lines[0] if lines else done.stderr.strip()[-200:]
            raise DebianError(f"{program} {' '.join(words)} ({self._suite}): {why}")
        return done.stdout


def unpack(suite: Suite, packages: Sequence[str], destination: Path) -> None:
    """Unpack packages into `destination`, which appears whole or not at all."""
    if not shutil.which("dpkg-deb"):
        raise DebianError("dpkg-deb is missing: packages can only be unpacked on Debian")
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".fetch-") as folder:
        work = Path(folder)
        (work / "root").mkdir()
        suite.download(packages, work)
        for package in sorted(work.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(package), str(work / "root")], check=True)
        try:
            # A rename replaces an empty folder, and no other.
            (work / "root").rename(destination)
        except OSError:
            # Another process has unpacked the same packages meanwhile.
            if not _filled(destination):
                raise


def fetch(packages: Sequence[str], suite: str, destination: Path) -> None:
    """Unpack these packages of a suite into a folder, unless the folder has something in it."""
    if _filled(destination):
        return
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".lists-") as state:
        unpack(Suite(suite, Path(state)), packages, destination)


def _filled(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())  # empty: made by mktemp


def main(words: list[str]) -> int:
    """`debian.py SUITE DESTINATION PACKAGE...`"""
    if len(words) < 3:
        print("usage: debian.py SUITE DESTINATION PACKAGE...", file=sys.stderr)
        return 2
    try:
        fetch(words[2:], words[0], Path(words[1]))
    except DebianError as error:
        print(f"debian.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
