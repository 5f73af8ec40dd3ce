"""Hashes of bound values: the same for the same execution, another for any other."""

import datetime as dt
import decimal
import enum
import math
import subprocess
import sys
import uuid
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbsight.statement.parameters import frozen, hash_parameters, separate_values
from unit.examples import examples

try:
    import numpy as np
except ImportError:
    np = None


class Level(enum.IntEnum):
    """A number with a name, bound as it is."""

    LOW = 1
    HIGH = 2


class Wrapped(int):
    """A number for which a driver has a type of its own, as psycopg's ``Int4``."""

    __slots__ = ()

    def __repr__(self):
        raise AssertionError


class Safe(str):
    """A text that a library has marked, as Django's ``SafeString``."""

    __slots__ = ()

    def __str__(self):
        raise AssertionError


class Changing(int):
    """A number that holds something else, too."""


NOW = dt.datetime(2026, 11, 28, 12, 0, tzinfo=dt.timezone.utc)


class Colour(enum.Enum):
    """A value that an application's own type adapter binds."""

    RED = 1
    BLUE = 2


class Point:
    """A value without a ``repr`` of its own: its address says nothing about it."""

    def __init__(self, x):
        self.x = x


class Shortened(Point):
    """A value whose ``repr`` is cut, as those of psycopg's JSON wrappers are."""

    def __repr__(self):
        return f"Shortened({str(self.x)[:3]} …)"


class Text(str):
    """A subclass of a plain type."""

    __slots__ = ()


def _of_numpy():
    """Scalars and arrays; none where numpy, which dbsight does not need, is not installed."""
    if np is None:
        return []
    return [
        *(np.int64(1), np.int32(1), np.float64(1.0), np.bool_(True), np.int64(-1), np.int64(-2)),
        *(np.arange(2000), np.arange(2000) * 2, np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(6, dtype="f4")),
        *(np.array([1, "a"], dtype=object), np.datetime64("2026-01-01"), np.datetime64("2026-01-02")),
    ]


def distinct():
    """Values of which each is another one, made anew in each call."""
    return [
        *(0, 1, -1, -2, 2**61 - 1, 2**61, 2**64, -(2**61), 10**400, 10**400 + 1),
        *(0.0, -0.0, 1.0, -1.0, -2.0, 1.5, math.inf, -math.inf, math.nan),
        *(True, False, None, 1j, "", "1", "1.0", "-1", "None", "\ud800", b"", b"1", bytearray(b"1"), Text("1")),
        *("x" * 1_000_000, "x" * 999_999 + "y", b"x" * 1_000_000, memoryview(b"1")),
        *(decimal.Decimal(1), decimal.Decimal(-1), decimal.Decimal(-2), decimal.Decimal("1.10")),
        *(uuid.UUID(int=1), uuid.UUID(int=2), NOW, NOW.replace(microsecond=1), NOW.replace(tzinfo=None), NOW.date()),
        *(dt.timedelta(1), dt.time(1), Colour.RED, Colour.BLUE),
        *([1, 2], [12], [1, [2]], [[1], 2], (1, 2), {1, 2}, {3, 1}, frozenset({1, 2}), [-1], [-2], [True], [1.0]),
        *({"a": 1}, {"a": -1}, {"a": -2}, {"a": True}, {"b": 1}, {1: "a"}, {"a": {"b": [1, None]}}),
        *_of_numpy(),
        *(Point(1), Point(2), Shortened(12345), Shortened(12346)),
    ]


def test_different_values_have_different_hashes():
    """Type and value count: -1 and -2, or 1, 1.0 and True, are different parameters."""
    hashes = [hash_parameters((7, value)) for value in distinct()]
    assert None not in hashes
    for (one, left), (other, right) in combinations(zip(distinct(), hashes, strict=True), 2):
        assert left != right, (repr(one)[:40], repr(other)[:40])


def test_equal_values_have_the_same_hash():
    """Objects that are made anew for each execution are the same parameters, named or not."""
    for one, other in zip(distinct(), distinct(), strict=True):
        assert hash_parameters((1, one)) == hash_parameters((1, other)), repr(one)[:40]
        assert hash_parameters({"n": one}) == hash_parameters({"n": other}), repr(one)[:40]


def test_it_does_not_matter_which_objects_are_the_same():
    """A value that is bound twice hashes as two equal values do, whatever its type."""
    for value, equal in zip(distinct(), distinct(), strict=True):
        assert hash_parameters([value, value]) == hash_parameters([value, equal]), repr(value)[:40]


def test_values_that_cannot_be_compared_have_no_hash():
    """A generator, a list that holds itself, an object that raises: unknown, and no error."""

    class Angry:
        def __reduce_ex__(self, _):
            raise RuntimeError

        def __bool__(self):
            raise RuntimeError

    endless = []
    endless.append(endless)
    for values in ((each for each in [1]), endless, (endless,), (Angry(),), Angry(), (lambda: 1,), ({Angry()},)):
        assert hash_parameters(values) is None


def test_no_parameters_are_the_same_parameters():
    """None, an empty tuple and an empty mapping."""
    assert hash_parameters(None) == hash_parameters(()) == hash_parameters({}) == hash_parameters([])


def test_another_process_has_other_hashes():
    """Hashes are salted, also where Python's own are not."""
    program = "from dbsight.statement.parameters import hash_parameters as h; print(h((1, 'a')), h(()))"
    first, second = (
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    )
    assert not set(first) & set(second)


PLAIN = st.one_of(
    st.integers(), st.integers(-3, 3), st.floats(), st.booleans(), st.none(), st.text(max_size=5), st.binary(max_size=5)
)
NESTED = st.recursive(
    PLAIN | st.decimals() | st.uuids() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@examples(200)
@given(st.lists(NESTED, min_size=1, max_size=4), st.lists(NESTED, min_size=1, max_size=4))
def test_hashes_are_equal_exactly_where_types_and_values_are(one, other):
    """Of any two lists of parameters; what a ``repr`` tells apart the hash does."""
    assert (hash_parameters(one) == hash_parameters(other)) is (repr(one) == repr(other))


@pytest.mark.parametrize("values", [(-1, -2), (1, True), (1, 1.0), (0, False), (2**61 - 1, 0)])
def test_single_values_that_python_hashes_alike(values):
    """As the only parameter, in a tuple, a list and a mapping."""
    one, other = values
    assert hash(one) == hash(other)
    for shape in (lambda value: (value,), lambda value: [value], lambda value: {"id": value}):
        assert hash_parameters(shape(one)) != hash_parameters(shape(other))


def test_numbers_and_texts_of_other_classes_are_hashed_in_the_drain():
    """Nothing can change them until then; what has attributes, is long or is no number or text is hashed at once."""
    for kept in (Wrapped(1), Safe("x"), Level.LOW, 1, "x"):
        assert frozen((kept,)) == (kept,)
    for changeable in (Changing(1), Safe("x" * 257), Colour.RED, [1]):
        assert frozen((changeable,)) is None


def test_numbers_of_other_classes_are_told_apart_as_numbers():
    """By type and value as a whole; one by one with the distance between them."""
    hashes = {hash_parameters((value,)) for value in (1, Wrapped(1), Wrapped(2), Level.LOW, Level.HIGH, "1", Safe("1"))}
    assert len(hashes) == 7
    assert hash_parameters((Wrapped(1),)) == hash_parameters((Wrapped(1),))
    one, other = (separate_values((Wrapped(number), Safe(str(number)))) for number in (3, 10))
    assert other[0] - one[0] == 7
    assert other[1] != one[1]
