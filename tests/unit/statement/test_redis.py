"""Commands and pipelines of Redis: the same object for the same keys, and no value in what is remembered."""

import pytest

from dbsight.statement import redis as reader
from dbsight.statement.redis import read_command, read_pipeline


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Each test reads for the first time."""
    reader.clear()


def remembered():
    """Everything by which statements are remembered, as text."""
    return repr([*reader._recent, *reader._older])


@pytest.mark.parametrize(
    "commands",
    [
        [("GET", "user:1"), ("GET", "user:2")],
        [("GET", "user:1"), ("DEL", b"user:2")],
        [("SET", "user:1", "x"), ("GET", "user:2")],
        [("PING",), ("GET", "user:2")],
        [("GET", bytearray(b"user:1")), ("GET", "user:2")],
        [],
    ],
    ids=["reads", "bytes", "a value", "no key", "cannot be hashed", "empty"],
)
def test_the_same_pipeline_is_read_once(commands):
    """By its keys, whatever list they come in; as a transaction it is another statement."""
    first = read_pipeline(commands)
    assert [part.text for part in first.parts] == [read_command(command).text for command in commands]
    if not any(isinstance(each, bytearray) for command in commands for each in command):
        assert read_pipeline(list(commands)) is first
    assert read_pipeline(commands, transaction=True) is not first


def test_pipelines_of_other_values_for_the_same_keys_are_one():
    """The keys are the statement."""
    assert read_pipeline([("SET", "user:1", "x")]) is read_pipeline([("SET", "user:1", "y")])


@pytest.mark.parametrize(
    "command",
    [
        *[("AUTH", "a secret"), ("ECHO", "a secret"), ("SET", "user:1", "a secret"), ("HELLO", "a secret")],
        *[("MSET", "user:1", "a secret", "user:2", "a secret"), ("UNKNOWN", "user:1", "x", "y", *["a secret"] * 30)],
    ],
    ids=lambda command: command[0],
)
def test_no_value_is_kept(command):
    """Neither of a command nor of a pipeline; only what is no key is a value."""
    read_command(command)
    read_pipeline([command, ("GET", "user:1")])
    read_pipeline([command, command])
    assert "secret" not in remembered()
