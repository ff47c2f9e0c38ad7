# SPDX-License-Identifier: GPL-2.0-only
"""The option that the clients of the statistics share."""

import argparse

from pyland.stats.places import DEFAULT_PATH


def add_stats_socket(parser: argparse.ArgumentParser) -> None:
    """Add --stats-socket, for a client of the statistics."""
    parser.add_argument(
        "--stats-socket",
        default="",
        metavar="PATH",
        help=f"where pyland serves statistics (default {DEFAULT_PATH})",
    )
