"""Fixtures of the tests of settings."""

import logging
import os

import pytest

from dbsight import config


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """Every test starts in an empty directory, with an empty environment, nothing loaded and nothing said."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("OTEL_", "REDIS_"))]:
        monkeypatch.delenv(name)
    config.reset()
    yield
    config.reset()


@pytest.fixture
def said(caplog):
    """Gives the warnings since it was last asked, without the prefix that every one has."""

    def take():
        assert all(record.name == "dbsight" and record.levelno == logging.WARNING for record in caplog.records)
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        assert all(message.startswith("dbsight: ") for message in messages)
        return [message.removeprefix("dbsight: ") for message in messages]

    return take
