"""``dbsight doctor redis``: the counts of a real server beside those of its clients."""

import contextlib
import json
import subprocess
import sys

from click.testing import CliRunner

from dbsight.cli.main import main

HOLDS = """
import sys, redis
held = [redis.Redis.from_url(sys.argv[1]) for _ in range(3)]
print([client.ping() for client in held], flush=True)
sys.stdin.read()
"""


def call(*arguments):
    """Exit code and standard output of ``dbsight doctor redis``."""
    done = CliRunner().invoke(main, ["doctor", "redis", *arguments])
    return done.exit_code, done.stdout


@contextlib.contextmanager
def client(url):
    """A process that holds three connections; its id."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "[True, True, True]\n"
            yield process.pid
        finally:
            process.kill()


def test_both_sides_of_each_process_stand_side_by_side(redis_server):
    """Connections that the operating system knows, those of them that the server lists, and the memory."""
    with client(redis_server.url()) as pid:
        code, output = call("--json", redis_server.url())
    told = json.loads(output)
    (process,) = [each for each in told["processes"] if each["pid"] == pid]
    assert (process["client_side"], process["server_side"]) == (3, 3)
    assert process["name"].startswith("python")
    assert process["vms"] > process["rss"] > 1_000_000
    assert [each["check"] for each in told["answers"] if each["check"] != "hits"] == [
        "server",
        "clients",
        "memory",
        "slow log",
        "connections",
    ]
    assert code == int(any(each["mark"] == "✘" for each in told["answers"]))


def test_people_read_a_table(redis_server):
    """The same, in columns; no password, no value."""
    with client(redis_server.url()) as pid:
        _, output = call(redis_server.url())
    table = output.partition("\n\n")[2].splitlines()
    assert table[0].split() == ["process", "pid", "client", "side", "server", "side", "rss", "vms"]
    (row,) = [line.split() for line in table[1:] if str(pid) in line.split()]
    assert row[1:4] == [str(pid), "3", "3"]
    assert f"at {redis_server.host}:{redis_server.port}, up " in output


def test_what_the_slow_log_has_is_told_without_values(redis_server):
    """The slowest command with its key."""
    import redis

    with redis.Redis.from_url(redis_server.url()) as admin:
        kept = admin.config_get("slowlog-log-slower-than")["slowlog-log-slower-than"]
        admin.config_set("slowlog-log-slower-than", 0)
        try:
            admin.slowlog_reset()
            admin.set("user:1", "secret")
            admin.config_set("slowlog-log-slower-than", -1)
            _, output = call(redis_server.url())
        finally:
            admin.config_set("slowlog-log-slower-than", kept)
            admin.slowlog_reset()
    assert "? slow log " in output
    assert "secret" not in output


def test_a_server_that_is_away_is_one_line(monkeypatch):
    """The exit code is 1, and the environment's URL is asked where none is given."""
    monkeypatch.setenv("REDIS_URL", "redis://:secret@127.0.0.1:1/0")
    code, output = call()
    assert code == 1
    assert output.splitlines() == [
        "✘ server        127.0.0.1:1 does not answer: ConnectionError",
        "                → start it, or pass another URL",
    ]


def test_what_is_no_url_is_said():
    """No traceback."""
    done = CliRunner().invoke(main, ["doctor", "redis", "localhost"])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: not a Redis URL: ")
