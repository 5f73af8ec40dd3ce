"""Texts that must not be executed, whoever is asked to explain them."""

NOT_ONE_QUERY = [
    "SELECT 1; DELETE FROM orders",
    "SELECT 1;DELETE FROM orders;",
    "SELECT ';' ; DELETE FROM orders",
    "SELECT 1 /* ; */; COMMIT; DELETE FROM orders",
    "SELECT 1 -- ;\n; DELETE FROM orders",
    "SELECT 1 --; DELETE FROM orders",
    "SELECT 1 # 2; DELETE FROM orders",
    "SELECT 1 /* /* */ ; DELETE FROM orders /* */ */",
    "SELECT 1 /* */ /* ' */ ; DELETE FROM orders -- '",
    "SELECT (ARRAY[1; DELETE FROM orders; --])",
    "SELECT E'\\'; DELETE FROM orders; --'",
    "SELECT U&'\\0027; DELETE FROM orders; --'",
    'SELECT 1 AS "a"; DELETE FROM orders; --"',
    r"SELECT '\' , ' ; DELETE FROM orders -- '",
    r"SELECT '\'' ; DELETE FROM orders -- '",
    "SELECT $a$ $a$; DELETE FROM orders",
    "SELECT 1 /*! ; DELETE FROM orders */",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "COMMIT",
    "CALL gone()",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "COPY orders TO PROGRAM 'cat'",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "ANALYZE DELETE FROM orders",
    "(ANALYZE) DELETE FROM orders",
    "EXECUTE gone",
    "PREPARE gone AS DELETE FROM orders",
    "CREATE TABLE copy AS SELECT * FROM orders",
    "SET GLOBAL max_connections = 1",
    "PRAGMA writable_schema = ON",
    "ATTACH 'x' AS y",
    "VACUUM",
    "",
    ";",
    "-- nothing",
    "SELECT 1\0; DELETE FROM orders",
    "SELECT 'open",
]
"""Several statements, commands, and texts that can be read in two ways."""

LOCKS_OR_WAITS = [
    "SELECT * FROM orders FOR UPDATE",
    "SELECT * FROM orders FOR/**/UPDATE",
    "SELECT * FROM orders FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT * FROM orders FOR SHARE",
    "SELECT * FROM orders LOCK IN SHARE MODE",
    "SELECT * INTO copied FROM orders",
    "SELECT id INTO OUTFILE '/tmp/copied' FROM orders",
    "SELECT @a := id FROM orders",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_catalog . pg_advisory_lock (1)",
    'SELECT "pg_terminate_backend"(1)',
    "SELECT nextval/* */('s')",
    "SELECT pg_sleep(10)",
    "SELECT GET_LOCK('a', 10)",
    "SELECT SLEEP(10)",
    "SELECT load_extension('x')",
]
"""Queries that lock rows, take locks of the user's, write files or wait."""

PIECES = (
    *("'", '"', "`", ";", "--", "/*", "*/", "/*!", "\n", "$$", "$a$", "\\", "E'", "U&'", "B'", "N'"),
    *("[", "]", "#", "(", ")", "SELECT", "1", ",", "''", '""', "FROM customers"),
    *("COMMIT;", "; DELETE FROM customers", "; DELETE FROM customers --"),
)  # fmt: skip


def mixture(chance):
    """A text that a reader of SQL and a server may take apart in different ways."""
    count = chance.randint(2, 9)
    return "SELECT 1 " + "".join(chance.choice(PIECES) + chance.choice(("", " ")) for _ in range(count))
