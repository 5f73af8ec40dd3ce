"""The magic of a cell, in a real IPython."""

import subprocess
import sys

import pytest

CELLS = """
%load_ext dbsight
import sqlalchemy as sa
engine = sa.create_engine("sqlite://")
connection = engine.connect()
connection.execute(sa.text("CREATE TABLE books (id INTEGER)")) and None
get_ipython().run_cell('''%%dbsight {options}
for number in range(6):
    connection.execute(sa.text("SELECT id FROM books WHERE id = :id"), {{"id": number}}).all()
{last}''')
print("html", "<table>" in (_ or Out[max(Out)] if Out else "")._repr_html_() if Out else "none")
"""


def ipython(tmp_path, options="", last=""):
    """What a session prints."""
    pytest.importorskip("IPython")
    script = tmp_path / "session.ipy"
    script.write_text(CELLS.format(options=options, last=last))
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_a_cell_shows_its_queries(tmp_path):
    """Their number and time; in a notebook as a table."""
    printed = ipython(tmp_path)
    assert "<QueryProfiler 6 queries," in printed, printed
    assert "html True" in printed


def test_a_cell_that_raises_shows_its_traceback_alone(tmp_path):
    """As without the magic."""
    printed = ipython(tmp_path, last="raise LookupError('gone')")
    assert "LookupError: gone" in printed
    assert "QueryProfiler" not in printed
    assert "html none" in printed
