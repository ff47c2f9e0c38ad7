# SPDX-License-Identifier: GPL-2.0-only
"""Makes the manual pages and the shells' completions from the parsers of the commands.

The build puts them into the wheel (setup.py); no page and no completion is written by hand.

What this needs is imported only to make them: each step of a build reads setup.py and this file.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

MANUAL = "share/man/man1"
_PLACES = {
    "bash": "share/bash-completion/completions/pyland",
    "zsh": "share/zsh/site-functions/_pyland",
    "fish": "share/fish/vendor_completions.d/pyland.fish",
}
FILES = (
    *(f"{MANUAL}/{name}.1" for name in ("pyland", "scx_pyland")),
    *_PLACES.values(),
)
"""What `make` writes, by the paths below the prefix of an installation."""
_OF_FILES = ("policy", "stats_socket", "metrics")
"""Options whose value can be a file."""


def make(folder: Path) -> None:
    """Write all of `FILES` below the folder."""
    import shtab

    # The width of the builder's terminal must not be seen in a page.
    os.environ["COLUMNS"] = "80"
    texts = {f"{MANUAL}/pyland.1": page(), f"{MANUAL}/scx_pyland.1": ".so man1/pyland.1\n"}
    texts |= {place: shtab.complete(tree(), shell) for shell, place in _PLACES.items()}
    assert texts.keys() == set(FILES)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def tree() -> argparse.ArgumentParser:
    """One parser of all commands; that of `run` is the one without a command, too."""
    from pyland.cli import main, run

    whole = run.build_parser()
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=False)
    for name in main.COMMANDS:
        own: argparse.ArgumentParser = main.module_of(name).build_parser()
        about = "schedule this machine, as without a command" if name == "run" else own.description
        commands.add_parser(
            name,
            help=_first_sentence(about or ""),
            description=about,
            # The parser of `run` is that of the whole command: do not list its options twice.
            parents=[] if name == "run" else [own],
            add_help=name == "run",
        )
    _complete_files(whole)
    return whole


def page() -> str:
    """The manual page, in the language of man(7)."""
    from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

    # Without this the page would contain the day of the build.
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    made = Manpage(tree(), format="pretty")
    made.manual, made.section, made.source = "pyland", 1, "pyland"
    made.description = "schedule this machine's CPUs from Python"
    return str(made)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")


def _complete_files(parser: argparse.ArgumentParser) -> None:
    import shtab

    for action in parser._actions:
        if action.dest in _OF_FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _complete_files(one)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
