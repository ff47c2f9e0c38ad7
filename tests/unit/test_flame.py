# SPDX-License-Identifier: GPL-2.0-only
"""The flame graph of a cycle: addresses become stacks, stacks become parts and a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cycle import KERNEL, PARTS, Cycle
from bench.flame import Stack, Symbols, fold
from bench.results import ResultsError
from tools.lab.instructions import _address

HIGH = 0xFFFF_FFFF_8000_0000
SWITCH, SCHEDULE, DISPATCH, TIMER = (HIGH + n * 0x100 for n in range(4))
RUN, CYCLE, DECIDE, HOG = 0x1000, 0x1100, 0x5000, 0x9000


def symbols() -> Symbols:
    made = Symbols()
    for start, name in sorted(
        {
            SWITCH: "__switch_to_asm",
            SCHEDULE: "__schedule",
            DISPATCH: "bpf_prog_0123456789abcdef_pyland_dispatch",
            TIMER: "timer",
            RUN: "exchange_run",
            CYCLE: "pyland_cycle",
            DECIDE: "PyObject_CallOneArg",
        }.items()
    ):
        made.starts.append(start)
        made.ends.append(start + 0x100)
        made.names.append(name)
    made.mapped = [(0x1000, 0x2000, "_native"), (0x5000, 0x6000, "python3")]
    return made


def test_a_function_begins_with_its_first_instruction_and_goes_on_after_its_callees() -> None:
    stack = Stack("run")
    steps = [("junk", False), ("run", False), ("a", True), ("b", True), ("b", False), ("a", False)]
    seen = []
    for name, begins in steps:
        stack.step(name, begins)
        seen.append(tuple(stack.frames))
    assert seen[1:] == [("run",), ("run", "a"), ("run", "a", "b"), ("run", "a", "b"), ("run", "a")]


def test_names_lose_what_compilers_and_bpf_add() -> None:
    assert symbols().look_up(DISPATCH) == ("bpf:pyland_dispatch", True)
    assert symbols().look_up(DISPATCH + 4) == ("bpf:pyland_dispatch", False)
    assert symbols().look_up(0x5FFF) == ("(python3)", False)
    assert symbols().look_up(HOG) == ("(unknown)", False)


TURN = [
    *(SWITCH, SWITCH + 4, SCHEDULE + 8),
    *(RUN + 8, DECIDE, DECIDE + 4, RUN + 12, CYCLE, CYCLE + 4),
    *(SCHEDULE, SCHEDULE + 4, DISPATCH, DISPATCH + 4, SCHEDULE + 8),
]
OF_OTHERS = [SWITCH, SCHEDULE + 8, HOG, HOG + 4, TIMER, HOG + 8, SCHEDULE, SCHEDULE + 4]


def test_only_whole_turns_of_the_process_that_decides_are_counted() -> None:
    # The first one may have begun before, and the last has no end.
    cycles, counts = fold([*TURN, *OF_OTHERS, *TURN, *OF_OTHERS, *TURN], symbols())
    assert cycles == 1
    assert sum(counts.values()) == len(TURN)
    assert counts["exchange_run",] == 2
    assert counts["exchange_run", "PyObject_CallOneArg"] == 2
    below = ("exchange_run", "pyland_cycle", KERNEL, "__schedule")
    assert counts[(*below, "bpf:pyland_dispatch")] == 2
    assert not any("timer" in frames for frames in counts)


def cycle() -> Cycle:
    cycles, counts = fold([*TURN, *TURN, *TURN], symbols())
    return Cycle(cycles, dict(counts), "--policy deadline")


def test_each_instruction_belongs_to_one_part() -> None:
    parts = cycle().parts()
    assert list(parts) == list(PARTS)
    assert list(parts.values()) == [2, 4, 2, 6]
    assert sum(parts.values()) == cycle().instructions == len(TURN)


def test_what_was_recorded_comes_back_from_its_file(tmp_path: Path) -> None:
    assert Cycle.read(tmp_path) is None
    cycle().write(tmp_path)
    assert Cycle.read(tmp_path) == cycle()
    (tmp_path / "cycle.json").write_text('{"cycles": 1}')
    with pytest.raises(ResultsError, match=r"cycle\.json: KeyError"):
        Cycle.read(tmp_path)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = cycle().draw(tmp_path / "plots" / "cycle.png")
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_addresses_are_read_from_what_the_emulator_logs() -> None:
    line = b"Trace 0: 0x7fadb8970f40 [00000000/ffffffff81790562/18c0c2b0/ff022201] name"
    assert _address(line) == 0xFFFF_FFFF_8179_0562
    assert _address(b"Stopped execution of TB chain before 0x7f [1/2/3] x") == 0
