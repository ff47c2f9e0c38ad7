# SPDX-License-Identifier: GPL-2.0-only
"""Arguments that several commands share."""

import argparse


def add_policy(parser: argparse.ArgumentParser, default: str | None, text: str) -> None:
    """Add --policy and --policy-opt."""
    parser.add_argument("--policy", metavar="POLICY", default=default, help=text)
    parser.add_argument(
        "--policy-opt",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an option of the policy; can be given several times",
    )


def add_interval(parser: argparse.ArgumentParser, between: str) -> None:
    """Add --interval, in seconds; `between` names what is repeated, such as `rows`."""
    parser.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help=f"the time between two {between} (default %(default)g)",
    )


def add_json(parser: argparse.ArgumentParser, output: str) -> None:
    """Add --json; `output` is what the command prints with it."""
    parser.add_argument("--json", action="store_true", help=f"for programs: {output}")
