"""Commands and pipelines of Redis: the same object for the same keys, and no value in what is remembered."""

import pytest

from dbsight.statement.redis import reader
from dbsight.statement.redis.reader import read_command, read_pipeline


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Each test reads for the first time."""
    reader.clear()


def remembered():
    """Everything by which statements are remembered, as text."""
    return repr([*reader._commands.recent, *reader._commands.older])


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


def test_commands_of_one_template_share_what_their_spans_have_in_common():
    """And nothing else: text and hashes are those of their own keys."""
    first, second = read_command(("GET", "user:1")), read_command(("GET", "user:2"))
    assert first.form is second.form
    assert first.prebuilt is second.prebuilt
    assert (first.text, second.text) == ("GET user:1", "GET user:2")
    assert first.fingerprint == second.fingerprint
    assert first.literals != second.literals
    assert first.parameters != second.parameters
    assert read_command(("GET", "cart:1")).form is not first.form


def test_a_form_says_nothing_that_is_one_commands_own():
    """How many keys, whether it blocks, what it is part of."""
    many, few = read_command(("MGET", "a:1", "a:2", "a:3")), read_command(("MGET", "a:4", "a:5"))
    assert many.form is few.form
    assert [each.in_length for each in (many, few, many.form)] == [3, 2, 0]
    waiting = read_command(("XREAD", "BLOCK", 0, "STREAMS", "s:1", "0"))
    reading = read_command(("XREAD", "STREAMS", "s:1", "0"))
    assert waiting.form is reading.form
    assert [each.blocking for each in (waiting, reading)] == [True, False]
    assert read_pipeline([("XREAD", "BLOCK", 0, "STREAMS", "s:1", "0"), ("GET", "a:1")]).blocking
    assert not read_pipeline([("XREAD", "STREAMS", "s:1", "0"), ("GET", "a:1")]).blocking


def test_pipelines_of_one_form_share_what_their_spans_have_in_common():
    """Whatever their keys and however many."""
    short, long = (read_pipeline([("GET", f"user:{number}") for number in range(count)]) for count in (2, 9))
    assert short.prebuilt is long.prebuilt
    assert (short.keys, long.keys) == (2, 9)
    assert [len(each.parts) for each in (short, long)] == [2, 9]
    assert len({each.literals for each in (short, long)}) == 2
    assert read_pipeline([("GET", "user:1"), ("TTL", "user:1")]).prebuilt is not short.prebuilt


def test_forms_are_bounded(monkeypatch):
    """A client may send names that nobody knows."""
    monkeypatch.setattr(reader, "MAX_FORMS", 20)
    for number in range(100):
        read_command((f"UNKNOWN{number}", "x"))
    assert len(reader._forms) <= 20


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
