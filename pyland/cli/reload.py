# SPDX-License-Identifier: GPL-2.0-only
"""`pyland reload`: the running policy continues from its edited source."""

import argparse
from collections.abc import Sequence

from pyland.cli.parser import Parser
from pyland.cli.swap import tell


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland reload`."""
    return Parser(
        prog="pyland reload",
        description="Read the files of the running policy again, and let the new code take over "
        "without a pause in scheduling. The policy and its options stay the same. If the new code "
        "cannot be used, the old one continues. The same as `pyland swap --reload`.",
        allow_abbrev=False,
    )


def command(arguments: Sequence[str]) -> int:
    """Ask the running pyland, and print its answer; returns the exit code."""
    build_parser().parse_args(arguments)
    tell("reload", {"command": "swap", "reload": True})
    return 0
