"""A text is read once, from any thread, and what is remembered is bounded."""

import os
import sys
import threading

import pytest

from dbsight import safety, statement
from dbsight.statement import cache, reader
from dbsight.statement.sql import reader as sql_reader
from forking import in_child


@pytest.fixture(autouse=True)
def empty():
    """Each test begins and ends with nothing remembered."""
    statement.clear()
    yield
    statement.clear()


def test_the_same_text_gives_the_same_object():
    """A statement is made once per text and system."""
    first = statement.read("SELECT 1 FROM orders", "sqlite")
    assert statement.read("SELECT 1 " + "FROM orders", "sqlite") is first
    assert statement.read("SELECT 1 FROM orders", "postgresql") is not first
    assert statement.read("SELECT 2 FROM orders", "sqlite") is not first


def test_bytes_are_read_like_text():
    """Drivers hand over bytes, bytearrays and memoryviews; they are UTF-8, or made so."""
    text = "SELECT 'é' FROM źródła"
    records = [
        statement.read(form, "postgresql")
        for form in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode()))
    ]
    assert {(record.text, record.fingerprint) for record in records} == {
        ("SELECT ? FROM źródła", records[0].fingerprint)
    }
    assert statement.read(b"SELECT \xff\xfe FROM t", "postgresql").summary == "SELECT t"


def test_what_is_remembered_is_bounded():
    """Never more than the limit, and what is asked for again and again stays."""
    favourite = statement.read("SELECT favourite FROM t", "sqlite")
    for number in range(3 * cache.CACHE_LIMIT):
        statement.read(f"SELECT column_{number} FROM t", "sqlite")
        if number % 100 == 0:
            assert statement.read("SELECT favourite FROM t", "sqlite") is favourite
        assert cache.size() <= cache.CACHE_LIMIT
    assert cache.size() >= cache.CACHE_LIMIT // 2


def test_a_long_text_is_remembered_by_its_hash():
    """It gives the same object again and again, but is not kept; what differs behind the part that is read is one."""
    text = "SELECT a FROM t WHERE b IN (" + ", ".join(map(str, range(10_000))) + ")"
    assert cache.KEY_LIMIT < len(text) < sql_reader.READ_LIMIT
    assert statement.read(text, "sqlite") is statement.read(text, "sqlite")
    longer = text + " " * reader.LENGTH_LIMIT
    assert statement.read(longer, "sqlite") is statement.read(longer + " AND c = 1", "sqlite")
    assert statement.read(longer, "sqlite") is not statement.read(text, "sqlite")
    assert (statement.read(text, "sqlite").truncated, statement.read(longer, "sqlite").truncated) == (False, True)
    assert all(len(key) <= cache.KEY_LIMIT for _, key in cache._statements.recent)


def test_many_threads_get_one_object():
    """Threads that ask for a text for the first time at the same moment all get the same statement."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for attempt in range(20):
            texts = [f"SELECT a_{attempt}_{number} FROM t" for number in range(50)]
            start = threading.Barrier(8, timeout=60)
            seen = []

            def ask(texts=texts, start=start, seen=seen):
                start.wait()
                seen.append([statement.read(text, "sqlite") for text in texts])

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(seen) == 8
            assert all(mine is first for others in seen for mine, first in zip(others, seen[0], strict=True))
    finally:
        sys.setswitchinterval(interval)


def test_clearing_forgets_statements_and_keeps_the_salt():
    """The same literals have the same hash before and after."""
    before = statement.read("SELECT a FROM t WHERE b = 'x'", "sqlite")
    statement.clear()
    after = statement.read("SELECT a FROM t WHERE b = 'x'", "sqlite")
    assert after is not before
    assert after.literals == before.literals != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_starts_empty_with_the_same_salt():
    """A child born while another thread held the lock reads all the same, and hashes as its parent does."""
    before = statement.read("SELECT a FROM t WHERE b = 'x'", "sqlite")

    def work():
        return cache.size(), statement.read("SELECT a FROM t WHERE b = 'x'", "sqlite").literals

    with cache._statements.lock:
        told = in_child(work)
    assert told == (0, before.literals)


@pytest.mark.swallows_errors
@pytest.mark.parametrize("text", [None, 5, object, ["SELECT 'SECRET'"], {"a": "SECRET"}], ids=repr)
def test_what_is_no_text_gives_an_empty_statement(text):
    """An instrumentor may hand over anything: it is counted, and nothing of it is shown."""
    record = statement.read(text, "postgresql")
    assert (record.text, record.summary, record.kind, record.truncated) == ("", "", "other", True)
    assert sum(safety.errors().values()) == 1


@pytest.mark.swallows_errors
def test_a_reader_that_fails_gives_an_empty_statement(monkeypatch):
    """A text on which the reader fails is counted once and remembered; its fingerprint does not tell its literals."""

    def fail(*_args, **_options):
        raise RuntimeError("injected")

    monkeypatch.setattr(cache, "read_text", fail)
    record = statement.read("SELECT 'SECRET'", "postgresql")
    assert statement.read("SELECT 'SECRET'", "postgresql") is record
    assert (record.text, record.summary, record.literals, record.truncated) == ("", "", 0, True)
    assert record.fingerprint != statement.read("SELECT 'OTHER'", "postgresql").fingerprint
    assert safety.errors() == {"statement.read": 2}


def test_a_lone_surrogate_never_reaches_an_exporter():
    """Text that cannot be encoded is made so that it can."""
    record = statement.read("SELECT a\udc80 FROM t\ud800 WHERE b = '\udfff'", "sqlite")
    assert record.text.encode().decode() == "SELECT a? FROM t? WHERE b = ?"


def test_a_subclass_of_str_is_a_text():
    """SQLAlchemy's quoted names and other kinds of str are read as what they are."""

    class Text(str):
        __slots__ = ()

    assert statement.read(Text("SELECT 'SECRET' FROM t"), "sqlite").text == "SELECT ? FROM t"
