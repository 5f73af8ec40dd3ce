"""Fuzz the reader of SQL text: no error, no value shown, bounds kept.

With atheris, guided by coverage::

    python tests/fuzz/fuzz_statement.py -max_total_time=600

Without it, a bounded random loop (texts, seed)::

    python tests/fuzz/fuzz_statement.py --random 100000 1
"""

import itertools
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from dbsight import safety, statement
from dbsight.statement.identity import SUMMARY_LIMIT
from dbsight.statement.spelling import unwrap
from dbsight.statement.sql.reader import TEXT_LIMIT
from fuzz.reference import hidden_spans

SYSTEMS = ("postgresql", "mysql", "sqlite", "microsoft.sql_server", "oracle.db", "other_sql")
JUDGED = SYSTEMS[:5]  # of an unknown dialect, no second opinion can be had

WORDS = """
    select from where insert into values update set delete join on using with as in exists limit offset fetch top create
    table index drop begin end commit case when then and or not is null true false like escape identified by explain
    merge call exec execute grant copy prepare declare cursor for distinct union order having returning date interval
    ( ) ( ) , , ; . * = - + / < > [ ] { } : :: ? %s $1 @p :n 1 0x1F 2e5 a.b t orders "x" `y` [z] é
    ' ' ' " ` '' \\ \\' -- /* */ /*! /*!50000 # $$ $a$ $ E' N' q'[ ]' nq'! !' x' U&' (' ',' in('
"""
TOKENS = (*WORDS.split(), " ", " ", "\n", "\t", "\r\n", "-- ", "ESCAPE '\\'", "FROM '", "\x00")

# What stands in front of a value, and of no table.
COMPARING = re.compile(
    r"(?:(?:is|not)\s+distinct\s+from|[=<>|]|\bin\s*\(|\b(?:like|and|or|then|else))\s*\Z", re.IGNORECASE
)
MARKER = re.compile("zq[0-9]+z")


def check(text, system):
    """Read one text and judge what comes out.

    Raises:
        AssertionError: An error was swallowed, a bound was passed, or a value is shown.
    """
    read = statement.read(text, system)
    assert not safety.errors(), safety.errors()
    assert len(read.text) <= TEXT_LIMIT
    assert len(read.summary) <= SUMMARY_LIMIT
    assert len(read.fingerprint) == 16
    said = f"{read.text}\n{read.summary}\n{read.targets}\n{read.written}\n{read.allowed}"
    said.encode()
    if system not in JUDGED:
        return
    text, _ = unwrap(text)
    for start, end in hidden_spans(text, system):
        # FROM 'artists' names a table in SQLite, FROM "artists" does in MySQL.
        table = text[start] == text[end - 1] == {"sqlite": "'", "mysql": '"'}.get(system)
        table = table and not COMPARING.search(text, 0, start)
        for marker in MARKER.findall(text, start, end):
            shown = marker in said and not (table and marker in read.summary)
            assert not shown, (marker, system, text, read.text)


def soup(draw):
    """Tokens in any order, every word a marker of its own here and there."""
    numbers = itertools.count()
    return "".join(
        f"zq{next(numbers)}z" if draw.random() < 0.3 else draw.choice(TOKENS) + draw.choice(("", " "))
        for _ in range(draw.randrange(60))
    )


def one_input(data):
    """What atheris calls: the first byte chooses the dialect, the others are the text, each token by its number."""
    if not data:
        return
    numbers = itertools.count()
    as_tokens = "".join(
        f"zq{next(numbers)}z" if byte >= 200 else TOKENS[byte] if byte < len(TOKENS) else chr(byte) for byte in data[1:]
    )
    system = SYSTEMS[data[0] % len(SYSTEMS)]
    check(as_tokens, system)
    check(data[1:].decode("utf-8", "replace"), system)


def random_loop(count, seed=None):
    """Try so many random texts, whole and cut, in every dialect."""
    draw = random.Random(seed)
    for _ in range(count):
        text = soup(draw)
        for system in SYSTEMS:
            check(text, system)
            check(text[: draw.randrange(len(text) + 1)], system)


def main():
    """Run under atheris, or without it for a while."""
    if "--random" in sys.argv:
        place = sys.argv.index("--random")
        count, seed = (*sys.argv[place + 1 :], "100000", "0")[:2]
        random_loop(int(count), int(seed))
        return
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
