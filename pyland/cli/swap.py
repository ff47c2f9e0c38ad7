# SPDX-License-Identifier: GPL-2.0-only
"""`pyland swap`: another policy takes over, without a pause."""

import argparse
from collections.abc import Mapping, Sequence

from pyland.cli.arguments import add_policy
from pyland.cli.parser import Parser, shown
from pyland.errors import UsageError
from pyland.loading.folder import current_folder
from pyland.output.printing import say
from pyland.supervisor.asking import ask


def build_parser() -> argparse.ArgumentParser:
    """The parser of `pyland swap`."""
    parser = Parser(
        prog="pyland swap",
        description="Change the policy of the running pyland, without a pause in scheduling.",
        allow_abbrev=False,
    )
    add_policy(
        parser, None, "the new one: a name of `pyland policies`, module:Class or ./file.py:Class"
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="the same policy with the same options, from its edited source",
    )
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="only in this layer, or part, of the present policy; a part of a part is outer.inner",
    )
    return parser


def command(arguments: Sequence[str]) -> int:
    """Ask the running pyland, and print its answer; returns the exit code."""
    options = build_parser().parse_args(arguments)
    if options.reload:
        if options.policy is not None or options.policy_opt or options.layer is not None:
            raise UsageError("swap: --reload keeps the policy and its options: give it alone")
        request: dict[str, object] = {"command": "swap", "reload": True}
    elif options.policy is None:
        raise UsageError("swap: it takes --policy POLICY, or --reload")
    else:
        request = {
            "command": "swap",
            "policy": options.policy,
            "options": options.policy_opt,
            "folder": str(current_folder(options.policy)),
        }
        if options.layer is not None:
            request["layer"] = options.layer
    tell("swap", request)
    return 0


def tell(command: str, request: Mapping[str, object]) -> None:
    """Send the request for a swap, and print the answer; raises UsageError if it is refused."""
    answer = ask(request)
    if not answer["ok"]:
        raise UsageError(f"{command}: {shown(answer.get('error'))}")
    told = f"{answer.get('previous')} -> {answer.get('policy')}"
    if "handed_over" in answer:
        told += f", {answer['handed_over']} tasks handed over"
    say(f"pyland: {shown(told)}, paused {shown(answer.get('pause_us'))} us")
