"""The page about ``dbsight doctor``, made from the docstrings of its checks."""
# ruff: noqa: INP001 - a part of generate.py

import inspect

from dbsight.cli.check import Check
from dbsight.cli.checks import CHECKS

INTRODUCTION = """\
# Why are there no spans?

<!-- Made by `python docs/generate.py` from the docstrings in `src/dbsight/cli/checks/`: edit there. -->

```sh
dbsight doctor                    # checks the environment
dbsight doctor -- python app.py   # runs the command instrumented, and checks it from inside
dbsight doctor --json             # the same as JSON: a list of check, mark, text and advice
```

Each line is ✔ (right), ✘ (wrong) or ? (unknown, or worth a look), followed by what to do. The exit code is 1 if a line
is ✘. The command runs as usual; its standard output goes to standard error. Each of its processes reports when it
exits: stop a server with Ctrl-C. `dbsight config` prints every setting, its value and its source.
[troubleshooting.md](troubleshooting.md) leads from symptoms to checks.

The lines from `pooling` on, printed when a command was run, are a checklist of good practice about the database, the
application, caches, pools, Redis pools, and habits. They are based on what the command did, on its pools, on the limits
of its servers, and on the project's configuration files; `?` = not exercised by this run, or not visible from here. A ✘
there does not change the exit code. `--workload read|write|mixed` and
`--template high-performance|memory-optimized|async` choose what [`workload`](#workload) compares with.

`dbsight doctor redis [URL]` queries a Redis server (`REDIS_URL`, else `redis://localhost:6379/0`) for clients, memory,
hit ratio and slow log, and lists the connections of each process of this machine with the memory of the process.
Connections of other machines and of unix sockets are listed with the server's data only.
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
