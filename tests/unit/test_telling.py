# SPDX-License-Identifier: GPL-2.0-only
"""An exception that cannot be printed is counted and reported like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pyland.engine import guard
from pyland.errors import UsageError
from pyland.loading.finder import choose
from pyland.output import telling


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PATIENCE_S", 0.2)


def loops(*_: object) -> NoReturn:
    while True:
        pass


def sleeps(*_: object) -> NoReturn:
    time.sleep(600)
    raise AssertionError


def clings(*_: object) -> NoReturn:
    """Ignores the first interruption, and says so."""
    try:
        loops()
    except BaseException:  # noqa: BLE001 - that is the point
        loops()


def raises(*_: object) -> NoReturn:
    raise ValueError("no")


def exits(*_: object) -> NoReturn:
    sys.exit(3)


class Text(str):
    """A text with methods that all fail."""

    __str__ = __len__ = __getitem__ = __hash__ = __eq__ = __iter__ = raises
    isprintable = expandtabs = split = encode = raises  # type: ignore[assignment]


def error(**methods: Any) -> BaseException:
    """An exception of a class with these attributes, raised in a function of a policy."""
    made: BaseException = type("Hostile", (Exception,), methods)("an argument")

    def decide() -> None:
        raise made

    with pytest.raises(type(made)):
        decide()
    return made


class Meta(type):
    """A metaclass of classes without a usable name."""

    __name__ = property(raises)
    __instancecheck__ = __subclasscheck__ = __eq__ = __hash__ = raises


def nameless() -> BaseException:
    made: BaseException = Meta("Nameless", (Exception,), {})("it")
    return made


def noted(notes: object) -> BaseException:
    made = error()
    made.__notes__ = notes  # type: ignore[assignment]
    return made


CASES: dict[str, tuple[Callable[[], BaseException], str]] = {
    "raises": (lambda: error(__str__=raises), "Hostile: (its message raised ValueError)"),
    "exits": (lambda: error(__str__=exits), "Hostile: (its message raised SystemExit)"),
    "loops": (lambda: error(__str__=loops), "Hostile: (its message took longer than 0.2 s)"),
    "sleeps": (lambda: error(__str__=sleeps), "Hostile: (its message took longer than 0.2 s)"),
    "clings": (lambda: error(__str__=clings), "Hostile: (its message took longer than 0.2 s)"),
    "no text": (lambda: error(__str__=lambda _: 5), "Hostile: (its message raised TypeError)"),
    "odd text": (lambda: error(__str__=lambda _: Text("fine")), "Hostile: fine"),
    "long": (lambda: error(__str__=lambda _: "x" * 10**7), "Hostile: xxxx"),
    "sequences": (lambda: error(__str__=lambda _: "\x1b[2J\nb"), r"Hostile: \x1b[2J\nb"),
    "class": (lambda: error(__class__=property(raises)), "Hostile: an argument"),
    "traceback": (lambda: error(__traceback__=property(loops)), "raised Hostile: an argument"),
    "dictionary": (lambda: error(__getattribute__=loops), "Hostile: an argument"),
    "metaclass": (nameless, "Nameless: it"),
    "name": (type("\x1b[2J\n", (Exception,), {}), r"raised \x1b[2J\n"),
    "notes of numbers": (lambda: noted([1, "two"]), "Hostile: an argument, 1, two"),
    "notes that are none": (lambda: noted(5), "Hostile: an argument"),
    "hostile notes": (lambda: noted([error(__str__=raises)]), "argument, (a note raised ValueE"),
    "endless notes": (lambda: noted([error(__str__=loops)] * 99), "(a note took longer"),
    "notes with sequences": (lambda: noted(["\x9b2J"]), r"an argument, \x9b2J"),
    "arguments": (lambda: KeyError(error(__repr__=raises)), "KeyError: (its message raised Valu"),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_in_one_line_and_in_time(case: str) -> None:
    make, words = CASES[case]
    made = make()
    begin_s = time.monotonic()
    report = guard.Failures().note(made, 0.0)
    assert time.monotonic() - begin_s < 5
    line = report.split("\n")[0]
    assert words in line
    assert line.isprintable()
    assert len(line) < 3000
    assert words in guard.describe(made)


def test_a_message_that_takes_long_counts_like_a_call_that_does() -> None:
    failures = guard.Failures()
    failures.note(error(__str__=loops), 0.0)
    failures.note(type("Another", (Exception,), {"__str__": sleeps})(), 1.0)
    assert failures.too_many


def test_the_clock_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGALRM)
    guard.describe(error(__str__=loops))
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def deep() -> None:
    deep()


def test_a_deep_recursion_is_told_in_few_lines() -> None:
    limit = sys.getrecursionlimit()
    with pytest.raises(RecursionError) as caught:
        deep()
    sys.setrecursionlimit(200)
    try:
        report = guard.Failures().note(caught.value, 0.0)
        assert sys.getrecursionlimit() >= 1000
    finally:
        sys.setrecursionlimit(limit)
    assert "RecursionError: maximum recursion depth exceeded" in report
    assert "more calls" in report
    assert len(report.splitlines()) < 30


class Index:
    """A wrong number in a decision."""

    def __init__(self, index: Callable[..., Any], text: Callable[..., Any] = raises) -> None:
        self._index, self._text = index, text

    def __index__(self) -> int:
        return self._index()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return self._text()  # type: ignore[no-any-return]


NUMBERS: list[tuple[object, str]] = [
    (1 << 100000, "vtime_ns = an integer of 100001 bits: it takes"),
    (-(1 << 100000), "vtime_ns = an integer of 100001 bits: it takes"),
    (Index(raises), "vtime_ns = (its repr() raised ValueError): it takes"),
    (Index(exits, exits), "vtime_ns = (its repr() raised SystemExit): it takes"),
    (Index(raises, lambda: "\x1b\n"), r"vtime_ns = \x1b\n: it takes"),
    (Index(raises, lambda: "x" * 10**6), "xx...: it takes"),
]


@pytest.mark.parametrize("case", range(len(NUMBERS)))
def test_a_number_that_cannot_be_sent_is_told(case: int) -> None:
    number, words = NUMBERS[case]
    with telling.patience():
        found = guard.find_wrong([1, 2, -1, 0, number, 0, 0])
    assert found.startswith("the decision for task 2 has vtime_ns = ")
    assert words.replace(r"\x1b\n", "\x1b\n") in found
    assert len(found) < 300


@pytest.mark.parametrize("case", ["raises", "loops", "exits", "sequences"])
def test_a_module_that_raises_it_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, words = CASES[case][0](), CASES[case][1]
    monkeypatch.setattr(sys, "hostile_error", made, raising=False)
    (tmp_path / "bad.py").write_text("import sys\nraise sys.hostile_error")
    (tmp_path / "bad.py").chmod(0o644)
    with pytest.raises(UsageError) as refused:
        choose("./bad.py", folder=tmp_path)
    assert words.replace(r"\n", " ") in str(refused.value)
    assert str(refused.value).isprintable()


def test_what_json_has_no_type_for_becomes_text() -> None:
    values = {
        "number": 1 << 200,
        "text": Text("fine"),
        "object": Index(raises, loops),
        "list": [1, None, 2.5, float("nan"), {"deep": [[[[]]]]}],
    }
    with telling.patience():
        plain = telling.plain(values)
    assert plain == {
        "number": "an integer of 201 bits",
        "text": "fine",
        "object": "(its repr() took longer than 0.2 s)",
        "list": [1, None, 2.5, "nan", {"deep": "[[[[]]]]"}],
    }


class Endless:
    """An object with a finalizer that does not end."""

    def __del__(self) -> None:
        loops()


def test_a_finalizer_that_loops_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs wherever its object goes, and so outside of the policy's methods."""
    before = signal.getsignal(guard.INTERRUPT)
    hook = sys.unraisablehook
    told: list[str] = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: told.append(" ".join(words)))
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    guard.interrupt_policies()
    interrupts = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -USR1 {os.getpid()}"])
    try:
        loop = Endless()
        del loop
    finally:
        sys.unraisablehook = hook
        signal.signal(guard.INTERRUPT, before)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        interrupts.wait()
    assert told == ["a finalizer raised PolicyTookTooLongError: it took longer than 1 s"]
    failures = guard.Failures()
    failures.note(error(), 0.0)
    failures.note(guard.PolicyTookTooLongError(), 1.0)
    assert failures.too_many  # each of the two counts five times
