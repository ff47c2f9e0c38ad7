# SPDX-License-Identifier: GPL-2.0-only
"""`pyland policies`: list the policies."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pyland.cli.arguments import add_json
from pyland.cli.parser import Parser, as_policies_run, shown
from pyland.loading.finder import available
from pyland.loading.folder import current_folder
from pyland.output.printing import as_json, show


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland policies`."""
    parser = Parser(
        prog="pyland policies",
        description="List the built-in policies and those that installed packages offer.",
        allow_abbrev=False,
    )
    add_json(parser, "a JSON array")
    return parser


def command(arguments: Sequence[str]) -> int:
    """Print the policies; returns the exit code."""
    options = build_parser().parse_args(arguments)
    folder = current_folder()
    show(as_policies_run(lambda: _listed(folder, as_array=options.json)))
    return 0


def _listed(folder: Path, *, as_array: bool) -> str:
    found = available(folder)
    if as_array:
        return as_json([one._asdict() for one in found], indent=2)
    rows = [
        (one.name, f"cannot be had: {one.error}" if one.error else one.summary, one.origin)
        for one in found
    ]
    rows = [(shown(a), shown(b), shown(c)) for a, b, c in rows]
    names = max(len(row[0]) for row in rows)
    summaries = max(len(row[1]) for row in rows)
    return "\n".join(f"{a:{names}}  {b:{summaries}}  {c}" for a, b, c in rows)
