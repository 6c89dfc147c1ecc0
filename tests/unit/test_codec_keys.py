"""Mapping keys that would become one when they are stored, and what else is inside of objects of other types."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from datetime import date
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Any, ClassVar, NamedTuple

import attrs
import msgspec
import pytest

from aiohttp_spry_session import JSONCodec


class Colour(Enum):
    RED = "red"
    ONE = 1


class Level(IntEnum):
    ONE = 1


class Right(IntFlag):
    READ = 1


class Size(StrEnum):
    SMALL = "s"


class Text(str):
    """A subclass that adds nothing."""


class Loud(Text, Enum):
    """Text that differs from what is stored of it."""

    RED = "red"

    def __new__(cls, value: str) -> Loud:
        member = Text.__new__(cls, value.upper())
        member._value_ = value
        return member


class Apart(str):
    """Text that thinks that it equals nothing else."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Odd(dict[Any, Any]):
    """A mapping that says of its keys what is not so; what is stored are the real ones."""

    def __iter__(self) -> Any:
        return iter(())

    def keys(self) -> Any:
        return {}.keys()

    def values(self) -> Any:
        return {}.values()


class Struct(msgspec.Struct):
    inner: Any


class Renamed(msgspec.Struct, rename={"inner": "red"}):
    inner: Any


class Tagged(msgspec.Struct, tag="red", tag_field="kind", array_like=True):
    inner: Any


class Tuple(NamedTuple):
    inner: Any


@dataclass(eq=False)
class Data:
    inner: Any
    kinds: ClassVar[Any] = {Colour.RED: "not stored"}
    later: Any = field(init=False, repr=False)


Slotted = make_dataclass("Slotted", [("inner", Any)], slots=True)
Attrs = attrs.make_class("Attrs", ["inner"])

WRAPPERS: list[Callable[[Any], Any]] = [
    lambda inner: inner,
    lambda inner: {"a": [inner]},
    lambda inner: (inner,),
    lambda inner: OrderedDict(a=inner),
    lambda inner: Odd(a=inner),
    Struct,
    Renamed,
    Tagged,
    Tuple,
    Data,
    lambda inner: {Data(inner)},
    lambda inner: frozenset({Data(inner)}),
    Slotted,
    Attrs,
    lambda inner: Enum("Held", {"IT": inner}).IT,
    lambda inner: Struct([Data({"a": Slotted(inner)})]),
]
wrapped = pytest.mark.parametrize("wrap", WRAPPERS, ids=[f"wrapper {number}" for number in range(len(WRAPPERS))])


@pytest.mark.parametrize("key", [Colour.RED, Colour.ONE, Level.ONE, Right.READ], ids=repr)
@pytest.mark.parametrize("mapping", [dict, OrderedDict, Odd])
@wrapped
def test_mapping_keys_that_msgspec_would_make_text(key, mapping, wrap):
    """An Enum that is no text is no key, wherever its mapping is: {Colour.RED: 1, "red": 2} would be one entry."""
    for value in ({key: 1}, {key: 1, "red": 2}):
        with pytest.raises(TypeError, match=f"^a mapping key must be a str, not {type(key).__name__}$"):
            JSONCodec().encode(wrap(mapping(value)))


@pytest.mark.parametrize(
    "value",
    [{Loud.RED: 1, "red": 2}, {Apart("red"): 1, "red": 2}, {Apart("red"): 1, Apart("red"): 2}],
    ids=["an Enum with text of its own", "equal text", "the same twice"],
)
@wrapped
def test_mapping_keys_that_are_the_same_text(value, wrap):
    """Keys that are text, but would be stored as the same, are refused too."""
    with pytest.raises(ValueError, match=r"^two mapping keys would both be stored as 'red'$"):
        JSONCodec().encode(wrap(value))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({Size.SMALL: 1, "l": 2}, {"s": 1, "l": 2}),
        ({Loud.RED: 1, "blue": 2}, {"red": 1, "blue": 2}),
        ({Text("a"): 1}, {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Odd(a=1), {"a": 1}),
        (Data({"a": 1}), {"inner": {"a": 1}}),
        (Renamed(1), {"red": 1}),
        (Tagged({"a": 1}), ["red", {"a": 1}]),
        (Attrs({"a": 1}), {"inner": {"a": 1}}),
        ([Colour.RED, Level.ONE], ["red", 1]),
    ],
    ids=repr,
)
def test_keys_that_are_text(value, stored):
    """A StrEnum or another subclass of str is a key; of an object its fields are stored."""
    assert JSONCodec().decode(JSONCodec().encode(value)) == stored


def test_what_is_no_field_is_not_stored():
    """Attributes beside a dataclass's fields, such as what a property keeps, do not matter."""
    value = Data(1)
    value.__dict__.update(other={Colour.RED: 1})
    assert JSONCodec().decode(JSONCodec().encode(value)) == {"inner": 1}


@pytest.mark.parametrize("bad", [float("nan"), 2**64, object()], ids=["NaN", "long", "object"])
@wrapped
def test_parts_of_other_types_are_checked_too(bad, wrap):
    """What has no exact form is found in every kind of object."""
    with pytest.raises((TypeError, ValueError)):
        JSONCodec().encode(wrap([bad]))


def test_leaves_at_the_last_depth():
    """What is no container adds no depth: an Enum may be where a string may."""
    value: Any = [Colour.RED, Size.SMALL, date(2026, 1, 2)]
    for _ in range(63):
        value = [value]
    assert JSONCodec().encode(value).endswith(b'["red","s","2026-01-02"]' + b"]" * 63)


def test_cycles():
    """They are refused by their depth, also where each turn has several branches, and through objects."""
    round_and_round: list[Any] = []
    round_and_round.extend([round_and_round] * 3)
    held = Data(None)
    held.inner = [held, held]
    for value in (round_and_round, held):
        with pytest.raises(ValueError, match="nested more than 64 deep"):
            JSONCodec().encode(value)
