# SPDX-License-Identifier: GPL-2.0-only
"""The argument of the commands that are clients of the statistics."""

import argparse
from pathlib import Path

from pyland.stats.places import DEFAULT_PATH, Places


def add_stats_socket(parser: argparse.ArgumentParser) -> None:
    """Add --stats-socket, for a client of the statistics."""
    parser.add_argument(
        "--stats-socket",
        default="",
        metavar="PATH",
        help=f"where pyland serves statistics (default {DEFAULT_PATH})",
    )


def stats_path(places: Places) -> Path:
    """The socket of the statistics that a client looks at."""
    return places.stats_path or DEFAULT_PATH
