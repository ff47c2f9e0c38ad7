# SPDX-License-Identifier: GPL-2.0-only
"""`pyland status`: the running policy, its user, and all counters."""

import argparse
from collections.abc import Iterator, Mapping, Sequence

from pyland.cli.arguments import add_json
from pyland.cli.parser import Parser, shown
from pyland.errors import UsageError
from pyland.output.printing import as_json, show
from pyland.supervisor.asking import ask


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland status`."""
    parser = Parser(
        prog="pyland status",
        description="Show what the running pyland does.",
        allow_abbrev=False,
    )
    add_json(parser, "a JSON object")
    return parser


def command(arguments: Sequence[str]) -> int:
    """Ask the running pyland, and print the answer; returns the exit code."""
    options = build_parser().parse_args(arguments)
    answer = ask({"command": "status"})
    if not answer["ok"]:
        raise UsageError(f"status: {shown(answer.get('error'))}")
    found = answer.get("status", {})
    show(as_json(found) if options.json else "\n".join(_lines(found)))
    return 0


def _lines(values: Mapping[str, object], indent: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{shown(name)}:" + ("" if value else " none")
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{shown(name)}: {shown(value)}"
