# SPDX-License-Identifier: GPL-2.0-only
"""What the supervisor takes for a message, and what it tells the user of one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland.supervisor import messages
from pyland.supervisor.messages import MESSAGE_MAX, Failure, Ready, Swapped, decode, encode

SWAPPED = {
    "kind": "Swapped",
    "order": "1",
    "previous": "a",
    "policy": "b",
    "options": {},
    "pause_us": 1,
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.binary(max_size=200))
def test_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any message of it will do
        decode(data)


@given(st.dictionaries(st.sampled_from(["kind", "policy", "options", "error", "how"]), _JSON))
def test_objects_are_a_message_or_a_value_error(values: dict[str, object]) -> None:
    try:
        found = decode(json.dumps(values).encode())
    except ValueError:
        return
    assert type(found).__name__ == values["kind"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{}",
        "[1]",
        '{"kind": "Ready"}',
        '{"kind": ["Ready"]}',
        '{"kind": "Stopped", "how": "SIGNAL", "more": 1}',
        json.dumps({**SWAPPED, "order": 1}),
        json.dumps({**SWAPPED, "pause_us": -1}),
        json.dumps({**SWAPPED, "pause_us": True}),
        '{"kind": "Ready", "order": "1", "policy": "a", "options": {"a": [1]}, "confined": true}',
        '{"kind": "Ready", "order": "1", "policy": "a", "options": {}, "confined": 1}',
        json.dumps({"kind": "Failure", "policy": "a", "report": "x" * 9_000}),
    ],
)
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        decode(text.encode())


@given(
    st.text(max_size=20_000),
    st.dictionaries(st.text(), st.integers() | st.booleans() | st.text() | st.floats()),
)
def test_every_message_that_is_sent_arrives(text: str, options: dict[str, object]) -> None:
    told = messages.Replaced(text, text, text, options)  # type: ignore[arg-type]
    data = encode(told)
    assert len(data) <= MESSAGE_MAX
    found = decode(data)
    assert isinstance(found, messages.Replaced)
    assert text.startswith(found.failed)


class _Hostile:
    def __repr__(self) -> str:
        raise RuntimeError

    def __deepcopy__(self, memo: object) -> object:
        raise RuntimeError


def test_what_a_policy_put_into_an_option_is_sent_as_a_text() -> None:
    ready = Ready("1", "a", {"x": _Hostile(), "y": 1 << 5000}, confined=True)  # type: ignore[dict-item]
    found = decode(encode(ready))
    assert isinstance(found, Ready)
    assert found.options["x"] == "(its repr() raised RuntimeError)"
    assert isinstance(found.options["y"], str)


def test_a_message_comes_back_as_it_was() -> None:
    assert decode(json.dumps(SWAPPED).encode()) == Swapped("1", "a", "b", {}, 1)
    for message in (Failure("a", "b\nc"), Swapped("1", "a", "b", {"x": 1, "y": 2.5, "z": True}, 7)):
        assert decode(encode(message)) == message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (messages.Failure("mine", "raised\n  here \x1b[2J"), "policy mine: raised"),
        (messages.Replaced("mine\x1b", "failed", "deadline", {}), "failed: going on with other"),
        (
            messages.PartReplaced("game\n", "mine", "failed\x1b", "vtime"),
            "policy other, part game\\n: mine failed\\x1b: going on with vtime there",
        ),
        (messages.Edited("mine", "/a\x1bb.py"), "policy mine: /a\\x1bb.py is not what it was"),
    ],
)
def test_what_the_user_is_told_is_safe_for_a_terminal(
    message: messages.Failure | messages.Replaced | messages.PartReplaced | messages.Edited,
    said: str,
) -> None:
    text = messages.told(message, "other")
    assert said in text
    assert text.startswith("pyland: policy ")
    assert all(line.isprintable() for line in text.split("\n"))
