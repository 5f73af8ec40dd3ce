"""Runs blocks of code of the guides as they stand there; only imports, host objects and durations are adapted."""

import ast
import asyncio
import inspect


def run(block, **hosts):
    """Execute a block whose names that it does not define itself are ``hosts``; ``await`` works at its top level.

    Returns:
        All its names afterwards.
    """
    code = compile(block, "guide.py", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names = {"__name__": "guide", **hosts}
    result = eval(code, names)
    if inspect.iscoroutine(result):
        asyncio.run(result)
    return names
