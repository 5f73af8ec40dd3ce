"""The page about ``dbsight doctor``, made from the docstrings of its checks."""
# ruff: noqa: INP001 - a part of generate.py

import inspect

from dbsight.cli.check import Check
from dbsight.cli.checks import CHECKS

INTRODUCTION = """\
# Why are there no spans?

<!-- Made by `python docs/generate.py` from the docstrings in `src/dbsight/cli/checks/`: edit there. -->

```
dbsight doctor                      looks at the environment
dbsight doctor -- python app.py     runs the command instrumented, and looks from inside when it ends
dbsight doctor --json               the same for programs: a list of check, mark, text and advice
```

Each line is ✔ (right), ✘ (wrong) or ? (cannot be told from here, or worth a look), with what to do below it. The exit
code is 1 when a line is ✘. What the command prints on standard output goes to standard error; it runs as it always
does, and what it saw is told by each of its processes at the end: stop a server with Ctrl-C. `dbsight config` prints
every setting, its value, and where that came from. [troubleshooting.md](troubleshooting.md) goes from what you see to
the lines that tell.

The last fifteen lines, which are there when a command was run, are a checklist of good practice: five about the
database, five about the application, five about caches. They are judged by what the command did, so that ? means that
it did nothing of the kind; ✘ in one of them does not change the exit code.

`dbsight doctor redis [URL]` asks a Redis server (`REDIS_URL`, else `redis://localhost:6379/0`) for its clients, memory,
hit ratio and slow log, and puts the connections that it lists beside those that each process of this machine holds,
with the memory of the process. Connections of other machines and of unix sockets have the server's side alone.
"""


def doctor() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(map(_section, CHECKS))


def _section(check: type[Check]) -> str:
    question, *rest = (inspect.getdoc(check) or "").replace("``", "`").split("\n\n")
    parts = [f"\n## {check.name}\n", f"{' '.join(question.split())}\n"]
    for paragraph in rest:
        heading, _, body = paragraph.partition(":\n")
        parts.append(f"{heading}: {' '.join(body.split())}\n")
    return "\n".join(parts)
