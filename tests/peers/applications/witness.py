"""Runs a script and notes every statement that SQLAlchemy hands to a driver, without any help of dbsight.

python witness.py journal script.py

The journal has one JSON text per line, in the order of the statements, from this process and those forked from it.
"""

import json
import os
import runpy
import sys
from pathlib import Path


def note_statements(journal):
    """Write down each statement of every engine of this process."""
    try:
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
    except ImportError:
        return
    file = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    @event.listens_for(Engine, "before_cursor_execute")
    def executes(connection, cursor, statement, parameters, context, executemany):
        os.write(file, (json.dumps(statement) + "\n").encode())


if __name__ == "__main__":
    note_statements(sys.argv[1])
    del sys.argv[:2]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
