"""Commands of Redis as a client sends them, argument by argument: keys are kept, everything else is hidden.

One Statement per command and key, cached like texts are; its fingerprint and its summary come from the key's template,
so that ``GET user:1`` and ``GET user:2`` are one query with other parameters. What they have in common is their form,
which is read once: most applications hardly ever ask for the same key again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dbsight.safety import failed
from dbsight.statement.generations import Generations
from dbsight.statement.identity import SUMMARY_LIMIT
from dbsight.statement.parameters import hash_parameters
from dbsight.statement.redis.command import Command
from dbsight.statement.redis.keys import templates
from dbsight.statement.redis.vocabulary import CONTAINERS, KNOWN, PINGS, SETUP, SHAPES, UNKNOWN, Shape
from dbsight.statement.salt import SALT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dbsight.model import Kind

CACHE_LIMIT: Final = 4_000
"""Commands with their keys, and pipelines, that are remembered."""

KEY_LIMIT: Final = 100
"""Characters of one key that are kept in the text."""

KEYS_SHOWN: Final = 20
"""Keys of one command that are kept in the text."""

COMMANDS_SHOWN: Final = 50
"""Commands of one pipeline that are kept in its text."""

MAX_FORMS: Final = 2_000
"""Forms of commands and pipelines that are remembered."""

NAME_LIMIT: Final = 40
_HASH_LENGTH: Final = 40
_HEXADECIMAL: Final = frozenset("0123456789abcdef")
_ELLIPSIS: Final = "…"
_SCRIPTS: Final = frozenset(("EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"))
_STREAMS: Final = frozenset(("XREAD", "XREADGROUP"))
"""They wait only where BLOCK is among their arguments."""


_commands: Generations[Any, Command] = Generations()
_forms: dict[Any, Command] = {}
_learnt = 0


def read_command(args: Sequence[Any], system: str = "redis") -> Command:
    """The statement of one command.

    Args:
        args: The command's name, then its arguments, as the client library is given them.
        system: ``db.system.name``.

    Returns:
        The same object for the same command and key for as long as it is remembered. Never raises.
    """
    try:
        name = args[0]
        shape = _shapes_as_sent.get(name) or _shape_of(name)
        where = shape.keys
        if where == "key" or (where == "one" and len(args) == 2):  # most commands
            key: Any = (system, name, args[1])
        else:
            key = _identity(shape, args, system)
        found = _commands.recent.get(key)
        if found is not None:
            return found
        return _look_further(key, args, system)
    except Exception:  # a command without its key, an argument that cannot be hashed
        return _read_safely(args, system)


def read_pipeline(commands: Sequence[Sequence[Any]], system: str = "redis", *, transaction: bool = False) -> Command:
    """The statement of a pipeline, or of a transaction.

    Args:
        commands: Each as for ``read_command``.
        system: ``db.system.name``.
        transaction: Sent between MULTI and EXEC.
    """
    key: Any = None
    if commands and max(map(len, commands)) == 2:  # nothing but names and keys, most likely
        try:
            key = (system, transaction, tuple(commands))
            found = _commands.recent.get(key)
        except TypeError:  # an argument that cannot be hashed
            key = None
        else:
            if found is not None:
                return found
    parts = tuple(_read_all(commands, system))
    if key is None or any(part.keys != 1 for part in parts):  # what is no key may be a value
        key = (system, transaction, parts)
    found = _commands.recent.get(key)
    if found is None:
        found = _commands.find(key)
        found = found if found is not None else pipeline(parts, system, transaction=transaction)
        found = _commands.keep(key, found, CACHE_LIMIT)
    return found


def _read_all(commands: Iterable[Sequence[Any]], system: str) -> list[Command]:
    recent = _commands.recent
    found: list[Command] = []
    for command in commands:
        try:  # a name and a key, as most commands are: ``read_command`` would look there, too
            name, key = command
            known = recent.get((system, name, key))
        except (TypeError, ValueError):
            known = None
        found.append(known if known is not None else read_command(command, system))
    return found


def clear() -> None:
    """Forget every command."""
    _commands.clear()
    _forms.clear()


# -- The cache ----------------------------------------------------------------------------------------------------
_shapes_as_sent: dict[Any, Shape] = dict(SHAPES)
"""By the name as clients send it: capitals, small letters, bytes; grows with what is seen, up to a bound."""


def _shape_of(name: Any) -> Shape:
    operation, arguments = name_of((name,))
    if arguments or (" " in operation and operation not in SHAPES):
        return UNKNOWN
    shape = SHAPES.get(operation, UNKNOWN)
    if len(_shapes_as_sent) < CACHE_LIMIT:
        _shapes_as_sent[name] = shape
    return shape


def _identity(shape: Shape, args: Sequence[Any], system: str) -> tuple[Any, ...] | None:
    """What a command is remembered by: never a value, which may be long; None for one that is not remembered."""
    where = shape.keys
    count = len(args)
    if where == "pairs":
        return (system, args[0], *args[1 : 2 * KEYS_SHOWN : 2]) if count < 2 * KEYS_SHOWN else None
    if where == "none":
        name = args[0]
        if name in CONTAINERS:
            return (system, *args[:3])
        return (system, name, count > 1) if " " not in name or shape is not UNKNOWN else None
    if where == "counted2":
        return (system, count, *args[: 3 + int(args[2])])
    return (system, *args) if count <= KEYS_SHOWN else None


def _look_further(key: Any, args: Sequence[Any], system: str) -> Command:
    found = _commands.find(key) if key is not None else None
    statement = found or _read(args, system)
    if templates.learnt != _learnt:
        _forget_unlearnt()
        return _read(args, system)
    return _commands.keep(key, statement, CACHE_LIMIT) if key is not None else statement


def _forget_unlearnt() -> None:
    """A place in a key turned out to be variable: what was read before may say otherwise."""
    global _learnt  # noqa: PLW0603 - the cache is this module
    _learnt = templates.learnt
    clear()


def _read_safely(args: Sequence[Any], system: str) -> Command:
    try:
        return _read(args, system)
    except Exception:
        failed("statement.redis")
        return Command(system, "", "unreadable")


# -- One command --------------------------------------------------------------------------------------------------
def _read(args: Sequence[Any], system: str) -> Command:
    operation, arguments = name_of(args)
    shape = SHAPES.get(operation, UNKNOWN)
    return build(system, operation, arguments, _keys(shape.keys, arguments))


def build(system: str, operation: str, arguments: Sequence[Any], keys: Sequence[Any]) -> Command:
    """The statement of one command.

    Args:
        system: ``db.system.name``.
        operation: Its name, in capitals.
        arguments: What stands behind the name; hidden, but for its keys.
        keys: Those that are known.
    """
    shape = SHAPES.get(operation, UNKNOWN)
    script = ""
    if operation in _SCRIPTS and arguments:
        script = _script(operation, _text(arguments[0]))
    shown = [_text(key) for key in keys[:KEYS_SHOWN]]
    shapes = tuple(dict.fromkeys([templates.of(key) for key in shown]))
    known = (system, operation, script, shapes)
    form = _forms.get(known) or _keep_form(known, _form(system, operation, script, shapes, shape))
    words = [operation, *([script] if script else []), *map(_cut, shown)]
    if len(keys) > KEYS_SHOWN:
        words.append(_ELLIPSIS)
    if len(arguments) > len(keys) + bool(script):
        words.append("?")
    told = arguments if shape.kind == "select" else keys
    command = form.of(
        " ".join(words),
        len(keys),
        hash((SALT, *shown)) or 1 if shown else 0,
        hash_parameters(tuple(told)) if told else None,
    )
    if len(keys) > 1:
        command.in_length = len(keys)
    if operation in _STREAMS:
        command.blocking = any(_text(argument).upper() == "BLOCK" for argument in arguments[:8])
    return command


def _script(operation: str, name: str) -> str:
    """The hash of a script, or the name of a function; anything else may be a value."""
    if operation.startswith("EVALSHA"):
        return name if len(name) == _HASH_LENGTH and set(name.lower()) <= _HEXADECIMAL else ""
    return name[:NAME_LIMIT] if name.isidentifier() else ""


def _form(system: str, operation: str, script: str, shapes: tuple[str, ...], shape: Shape) -> Command:
    about = " ".join(shapes[:2])
    summary = f"{operation} {about}" if about else operation
    form = Command(
        system,
        summary[:SUMMARY_LIMIT],
        f"{operation} {script} {' '.join(shapes)}",
        kind=shape.kind,
        operation=operation,
        targets=shapes,
        written=shapes if shape.kind in {"update", "delete"} else (),
        ping=operation in PINGS,
        setup=operation in SETUP,
        blocking=shape.blocking,
    )
    form.effect = shape.effect
    form.collection = shape.collection
    form.template = shapes[0] if shapes else ""
    return form


def _keep_form(known: Any, form: Command) -> Command:
    if len(_forms) >= MAX_FORMS:
        _forms.clear()
    return _forms.setdefault(known, form)


def name_of(args: Sequence[Any]) -> tuple[str, list[Any]]:
    """The command's name in capitals, of two words where a container has it, and the arguments behind it."""
    if not args:
        return "?", []
    first = _text(args[0])
    arguments = list(args[1:])
    if " " in first:  # redis-py sends ``CONFIG GET`` as one, and would send a whole command that is written so
        first, *more = first.split()
        arguments = [*more, *arguments]
    operation = first.upper()
    if operation in CONTAINERS and arguments:
        both = f"{operation} {_text(arguments[0]).upper()}"
        if both in KNOWN:
            return both, arguments[1:]
    return (operation if operation in KNOWN else "?"), arguments


def _keys(where: str, arguments: list[Any]) -> list[Any]:
    """The keys among the arguments."""
    find = _FINDERS.get(where)
    return arguments[find] if isinstance(find, slice) else find(arguments) if find is not None else []


def _behind_streams(arguments: list[Any]) -> list[Any]:
    names = [_text(argument).upper() for argument in arguments[:12]]
    behind = arguments[names.index("STREAMS") + 1 :] if "STREAMS" in names else []
    return behind[: len(behind) // 2]


def _behind_match(arguments: list[Any]) -> list[Any]:
    names = [_text(argument).upper() for argument in arguments[:6]]
    return arguments[names.index("MATCH") + 1 :][:1] if "MATCH" in names else []


def _counted(arguments: list[Any], at: int) -> list[Any]:
    try:
        count = int(arguments[at])
    except (IndexError, TypeError, ValueError):
        return []
    return arguments[at + 1 : at + 1 + count]


_FINDERS: Final[dict[str, slice | Callable[[list[Any]], list[Any]]]] = {
    "one": slice(1),
    "key": slice(1),
    "two": slice(2),
    "all": slice(None),
    "pairs": slice(None, None, 2),
    "most": slice(-1),
    "streams": _behind_streams,
    "pattern": _behind_match,
    "counted1": lambda arguments: _counted(arguments, 0),
    "counted2": lambda arguments: _counted(arguments, 1),
}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return str(value) if isinstance(value, (int, float)) else type(value).__name__


def _cut(key: str) -> str:
    key = key if len(key) <= KEY_LIMIT else f"{key[:KEY_LIMIT]}{_ELLIPSIS}"
    if key.isprintable():
        return key
    # A lone surrogate would make the exporter fail, a line feed the reader.
    return "".join([each if each.isprintable() else ascii(each)[1:-1] for each in key])


# -- A pipeline ---------------------------------------------------------------------------------------------------
def pipeline(parts: tuple[Command, ...], system: str, *, transaction: bool) -> Command:
    """The statement of a pipeline, or of a transaction, of these commands."""
    forms = tuple(dict.fromkeys([part.form or part for part in parts]))
    known = (system, transaction, forms)
    form = _forms.get(known) or _keep_form(known, _form_of_pipeline(forms, system, transaction=transaction))
    lines = [part.text for part in parts[:COMMANDS_SHOWN]]
    if len(parts) > COMMANDS_SHOWN:
        lines.append(_ELLIPSIS)
    made = form.of(
        "\n".join(lines),
        sum([part.keys for part in parts]),
        hash((SALT, *[part.literals for part in parts])) or 1,
        hash_parameters(tuple([part.parameters for part in parts])) if parts else None,
    )
    made.blocking = any([part.blocking for part in parts])  # noqa: C419 - twice as fast as a generator
    made.parts = parts
    return made


def _form_of_pipeline(parts: tuple[Command, ...], system: str, *, transaction: bool) -> Command:
    name = "MULTI" if transaction else "PIPELINE"
    alike = len({part.operation for part in parts}) == 1
    operation = f"{name} {parts[0].operation}" if alike else name
    identities = list(dict.fromkeys([part.summary for part in parts]))
    kinds: set[Kind] = {part.kind for part in parts}
    form = Command(
        system,
        operation,
        f"{name} {' '.join(identities[:COMMANDS_SHOWN])}",
        kind=kinds.pop() if len(kinds) == 1 else "transaction" if transaction else "other",
        operation=operation,
        targets=tuple(dict.fromkeys([target for part in parts for target in part.targets]))[:COMMANDS_SHOWN],
        written=tuple(dict.fromkeys([target for part in parts for target in part.written]))[:COMMANDS_SHOWN],
    )
    form.template = parts[0].template if alike else ""
    if len({(part.effect, part.template) for part in parts}) == 1:
        form.alike = parts[0].effect
    return form
