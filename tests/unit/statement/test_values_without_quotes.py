"""Values that look like names: SQLite's double quotes, passwords, settings and arguments without quotes."""
# ruff: noqa: E501 - a statement is quoted as it is sent

import pytest

from dbsight.statement import read

CASES = (
    ("sqlite", 'SELECT a FROM t WHERE b BETWEEN "SECRET" AND "SECRET2"', "SELECT a FROM t WHERE b BETWEEN ? AND ?"),
    ("sqlite", 'SELECT a FROM t WHERE b = "SEC""RET"', "SELECT a FROM t WHERE b = ?"),
    ("sqlite", 'UPDATE t SET a = """SECRET" WHERE "t"."b" = """"', 'UPDATE t SET a = ? WHERE "t"."b" = ?'),
    ("sqlite", 'SELECT a FROM t WHERE "a""b"."c" = "SECRET"', 'SELECT a FROM t WHERE "a""b"."c" = ?'),
    ("sqlite", 'SELECT a FROM t WHERE b IS "SECRET"', "SELECT a FROM t WHERE b IS ?"),
    ("sqlite", 'SELECT a FROM t WHERE b IS NOT "SECRET"', "SELECT a FROM t WHERE b IS NOT ?"),
    ("sqlite", 'SELECT ("SECRET")', "SELECT (?)"),
    ("sqlite", 'SELECT lower("SECRET") FROM t', "SELECT lower(?) FROM t"),
    ("sqlite", 'SELECT a FROM t WHERE (a, b) = ("SECRET", "SECRET2")', "SELECT a FROM t WHERE (a, b) = (?, ?)"),
    ("sqlite", 'SELECT a FROM t WHERE (a, b) IN (("SECRET", "SECRET2"))', "SELECT a FROM t WHERE (a, b) IN ((?, ?))"),
    ("sqlite", 'UPDATE t SET a = upper("SECRET")', "UPDATE t SET a = upper(?)"),
    ("sqlite", 'UPDATE t SET "a" = ?, "b" = "SECRET" WHERE "id" = ?', 'UPDATE t SET "a" = ?, "b" = ? WHERE "id" = ?'),
    ("sqlite", 'UPDATE t SET a = "SECRET", b = ? || "SECRET2"', "UPDATE t SET a = ?, b = ? || ?"),
    ("sqlite", 'INSERT INTO t SELECT "SECRET"', "INSERT INTO t SELECT ?"),
    ("sqlite", 'INSERT INTO t (a) SELECT "SECRET", b FROM u', "INSERT INTO t (a) SELECT ?, b FROM u"),
    ("sqlite", 'INSERT INTO "t" ("a", "b") VALUES ("SECRET", 1)', 'INSERT INTO "t" ("a", "b") VALUES (?, ?)'),
    (
        "sqlite",
        'INSERT INTO "t" ("a", "b") VALUES (?, ?) ON CONFLICT ("a") DO UPDATE SET "b" = excluded."b" RETURNING "id", "a"',
        'INSERT INTO "t" ("a", "b") VALUES (?, ?) ON CONFLICT ("a") DO UPDATE SET "b" = excluded."b" RETURNING "id", "a"',
    ),
    (
        "sqlite",
        'INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = upper("SECRET")',
        "INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = upper(?)",
    ),
    (
        "sqlite",
        'SELECT "name", "id" FROM "event" WHERE "id" = ? ORDER BY "name" ASC, "id" DESC LIMIT 1',
        'SELECT "name", "id" FROM "event" WHERE "id" = ? ORDER BY "name" ASC, "id" DESC LIMIT ?',
    ),
    (
        "sqlite",
        'SELECT DISTINCT "name" FROM "event" WHERE "name" LIKE ? AND "x" IN (1,2) AND "y" IS NULL',
        'SELECT DISTINCT "name" FROM "event" WHERE "name" LIKE ? AND "x" IN (?) AND "y" IS NULL',
    ),
    ("sqlite", 'SELECT "SECRET"', "SELECT ?"),
    (
        "sqlite",
        'SELECT "t"."a" AS "b", COUNT(*) AS "n" FROM "t" GROUP BY "b" HAVING "n" > 3 ORDER BY "n"',
        'SELECT "t"."a" AS "b", COUNT(*) AS "n" FROM "t" GROUP BY "b" HAVING "n" > ? ORDER BY "n"',
    ),
    (
        "sqlite",
        'SELECT CASE WHEN a = 1 THEN "SECRET" ELSE "SECRET2" END FROM t',
        "SELECT CASE WHEN a = ? THEN ? ELSE ? END FROM t",
    ),
    ("sqlite", 'SELECT CASE "SECRET" WHEN "SECRET2" THEN 1 END FROM t', "SELECT CASE ? WHEN ? THEN ? END FROM t"),
    ("sqlite", 'SELECT a "label", b FROM t', 'SELECT a "label", b FROM t'),
    ("sqlite", 'SELECT a || "SECRET" FROM t', "SELECT a || ? FROM t"),
    ("sqlite", 'SELECT a FROM t WHERE "SECRET" = name', "SELECT a FROM t WHERE ? = name"),
    (
        "sqlite",
        'SELECT a FROM t WHERE name = "bob" AND "name" = "bob"',
        'SELECT a FROM t WHERE name = ? AND "name" = ?',
    ),
    (
        "sqlite",
        'CREATE TABLE "t" ("id" INTEGER PRIMARY KEY, "name" TEXT DEFAULT "SECRET", CHECK ("name" IN ("s1")), FOREIGN KEY ("a") REFERENCES "b" ("c"))',
        'CREATE TABLE "t" ("id" INTEGER PRIMARY KEY, "name" TEXT DEFAULT ?, CHECK ("name" IN (?)), FOREIGN KEY ("a") REFERENCES "b" ("c"))',
    ),
    (
        "sqlite",
        'CREATE INDEX "i" ON "t" ("a", "b") WHERE "a" = "SECRET"',
        'CREATE INDEX "i" ON "t" ("a", "b") WHERE "a" = ?',
    ),
    ("sqlite", 'CREATE VIEW "v" ("a") AS SELECT "SECRET"', 'CREATE VIEW "v" ("a") AS SELECT ?'),
    (
        "sqlite",
        'WITH "c" ("a") AS (SELECT "a" FROM t) SELECT * FROM "c"',
        'WITH "c" ("a") AS (SELECT "a" FROM t) SELECT * FROM "c"',
    ),
    ("sqlite", 'SELECT * FROM t WHERE a LIKE "SECRET" ESCAPE "s"', "SELECT * FROM t WHERE a LIKE ? ESCAPE ?"),
    ("sqlite", 'SELECT * FROM json_each("SECRET")', "SELECT * FROM json_each(?)"),
    ("sqlite", 'SELECT json_extract(a, "$.SECRET") FROM t', "SELECT json_extract(a, ?) FROM t"),
    ("sqlite", 'ATTACH DATABASE "SECRET.db" AS "x"', 'ATTACH DATABASE ? AS "x"'),
    ("sqlite", 'PRAGMA key = "SECRET"', "PRAGMA key = ?"),
    ("sqlite", "PRAGMA key = SECRET", "PRAGMA key = ?"),
    (
        "sqlite",
        'SELECT * FROM t JOIN u USING ("id") WHERE NOT "SECRET"',
        'SELECT * FROM t JOIN u USING ("id") WHERE NOT ?',
    ),
    ("sqlite", 'DELETE FROM "t" WHERE "id" = ? AND "a" > "SECRET"', 'DELETE FROM "t" WHERE "id" = ? AND "a" > ?'),
    ("sqlite", 'SELECT max("SECRET", "SECRET2"), "a" FROM t', 'SELECT max(?, ?), "a" FROM t'),
    ("sqlite", 'VALUES ("SECRET"), ("SECRET2")', "VALUES (?)"),
    ("sqlite", 'SELECT "a", "SECRET" || b FROM t', 'SELECT "a", ? || b FROM t'),
    ("sqlite", 'SELECT * FROM t ORDER BY "a" = "SECRET", "b"', 'SELECT * FROM t ORDER BY "a" = ?, "b"'),
    ("sqlite", 'ALTER TABLE "t" ADD COLUMN "c" TEXT DEFAULT "SECRET"', 'ALTER TABLE "t" ADD COLUMN "c" TEXT DEFAULT ?'),
    ("sqlite", 'ALTER TABLE "t" RENAME COLUMN "a" TO "b"', 'ALTER TABLE "t" RENAME COLUMN "a" TO "b"'),
    ("postgresql", "SET app.k = SECRET", "SET app.k = ?"),
    ("postgresql", "SET LOCAL app.k TO SECRET", "SET LOCAL app.k TO ?"),
    ("postgresql", 'SET SESSION "app"."k" TO "SECRET"', 'SET SESSION "app"."k" TO ?'),
    ("postgresql", "SET app.k = SECRET, SECRET2", "SET app.k = ?, ?"),
    ("postgresql", "SET search_path TO public, shop", "SET search_path TO public, shop"),
    ("postgresql", "SET TIME ZONE UTC", "SET TIME ZONE UTC"),
    ("postgresql", "SET client_encoding TO utf8", "SET client_encoding TO utf8"),
    ("postgresql", "ALTER ROLE bob SET app.k TO SECRET", "ALTER ROLE bob SET app.k TO ?"),
    ("postgresql", "ALTER DATABASE d SET app.k = SECRET", "ALTER DATABASE d SET app.k = ?"),
    ("postgresql", "CREATE USER bob PASSWORD SECRET", "CREATE USER bob PASSWORD ?"),
    (
        "postgresql",
        "ALTER USER bob WITH ENCRYPTED PASSWORD SECRET VALID UNTIL 'x'",
        "ALTER USER bob WITH ENCRYPTED PASSWORD ? VALID UNTIL ?",
    ),
    ("postgresql", 'CREATE ROLE bob LOGIN PASSWORD "SECRET"', "CREATE ROLE bob LOGIN PASSWORD ?"),
    ("mysql", "CREATE USER bob@localhost IDENTIFIED BY SECRET", "CREATE USER bob@localhost IDENTIFIED BY ?"),
    (
        "mysql",
        "CREATE USER 'bob'@'%' IDENTIFIED WITH mysql_native_password BY SECRET REQUIRE SSL",
        "CREATE USER ?@? IDENTIFIED WITH mysql_native_password BY ? REQUIRE SSL",
    ),
    (
        "mysql",
        "ALTER USER bob IDENTIFIED WITH p AS SECRET PASSWORD EXPIRE NEVER",
        "ALTER USER bob IDENTIFIED WITH p AS ? PASSWORD EXPIRE NEVER",
    ),
    (
        "mysql",
        "ALTER USER bob IDENTIFIED BY SECRET REPLACE SECRET2 RETAIN CURRENT PASSWORD",
        "ALTER USER bob IDENTIFIED BY ? REPLACE ? RETAIN CURRENT PASSWORD",
    ),
    ("mysql", "SET PASSWORD = SECRET", "SET PASSWORD = ?"),
    ("mysql", "SET PASSWORD FOR bob = SECRET", "SET PASSWORD FOR bob = ?"),
    (
        "mysql",
        "GRANT ALL ON d.* TO bob IDENTIFIED BY SECRET WITH GRANT OPTION",
        "GRANT ALL ON d.* TO bob IDENTIFIED BY ? WITH GRANT OPTION",
    ),
    ("mysql", "SET GLOBAL validate_password.policy = LOW", "SET GLOBAL validate_password.policy = ?"),
    (
        "oracle.db",
        "ALTER USER scott IDENTIFIED BY SECRET REPLACE SECRET2",
        "ALTER USER scott IDENTIFIED BY ? REPLACE ?",
    ),
    (
        "oracle.db",
        "CREATE USER scott IDENTIFIED BY SECRET ACCOUNT UNLOCK",
        "CREATE USER scott IDENTIFIED BY ? ACCOUNT UNLOCK",
    ),
    ("oracle.db", 'CREATE USER scott IDENTIFIED BY "SECRET"', "CREATE USER scott IDENTIFIED BY ?"),
    (
        "oracle.db",
        'ALTER USER scott IDENTIFIED BY "SECRET" REPLACE "SECRET2"',
        "ALTER USER scott IDENTIFIED BY ? REPLACE ?",
    ),
    ("oracle.db", "ALTER USER scott IDENTIFIED BY VALUES 'SECRET'", "ALTER USER scott IDENTIFIED BY ? ?"),
    (
        "oracle.db",
        "CREATE DATABASE LINK l CONNECT TO scott IDENTIFIED BY SECRET USING 'SECRET2'",
        "CREATE DATABASE LINK l CONNECT TO scott IDENTIFIED BY ? USING ?",
    ),
    ("oracle.db", "SET ROLE dba IDENTIFIED BY SECRET", "SET ROLE dba IDENTIFIED BY ?"),
    ("oracle.db", "GRANT CONNECT TO scott IDENTIFIED BY SECRET", "GRANT CONNECT TO scott IDENTIFIED BY ?"),
    ("oracle.db", "ALTER USER scott PASSWORD EXPIRE", "ALTER USER scott PASSWORD EXPIRE"),
    (
        "oracle.db",
        "ALTER SYSTEM SET ENCRYPTION KEY IDENTIFIED BY SECRET",
        "ALTER SYSTEM SET ENCRYPTION KEY IDENTIFIED BY ?",
    ),
    ("oracle.db", "CREATE ROLE r IDENTIFIED BY SECRET", "CREATE ROLE r IDENTIFIED BY ?"),
    ("microsoft.sql_server", "EXEC p SECRET", "EXEC p ?"),
    ("microsoft.sql_server", "EXEC dbo.p SECRET, SECRET2", "EXEC dbo.p ?, ?"),
    ("microsoft.sql_server", "EXECUTE p @a = SECRET, @b = @c OUTPUT", "EXECUTE p @a = ?, @b = @c OUTPUT"),
    ("microsoft.sql_server", "EXEC @r = dbo.p SECRET", "EXEC @r = dbo.p ?"),
    ("microsoft.sql_server", "sp_password SECRET, SECRET2, bob", "sp_password ?, ?, ?"),
    ("microsoft.sql_server", "EXEC [dbo].[p] [SECRET]", "EXEC [dbo].[p] ?"),
    ("microsoft.sql_server", 'EXEC p "SECRET"', "EXEC p ?"),
    (
        "microsoft.sql_server",
        "CREATE LOGIN bob WITH PASSWORD = 'SECRET' MUST_CHANGE",
        "CREATE LOGIN bob WITH PASSWORD = ? MUST_CHANGE",
    ),
    (
        "microsoft.sql_server",
        "ALTER LOGIN bob WITH PASSWORD = 0x01SECRET HASHED",
        "ALTER LOGIN bob WITH PASSWORD = ? HASHED",
    ),
    ("microsoft.sql_server", "EXEC p $12.50", "EXEC p ?"),
    ("other_sql", "EXEC p SECRET", "EXEC p ?"),
    ("other_sql", "CREATE USER u PASSWORD SECRET", "CREATE USER u PASSWORD ?"),
    ("other_sql", "CREATE USER u IDENTIFIED BY SECRET", "CREATE USER u IDENTIFIED BY ?"),
    ("ibm.db2", "CREATE USER u PASSWORD SECRET", "CREATE USER u PASSWORD ?"),
    ("snowflake", "ALTER USER u SET PASSWORD = SECRET", "ALTER USER u SET PASSWORD = ?"),
    ("sqlite", "PRAGMA key = SECRET", "PRAGMA key = ?"),
    ("sqlite", "PRAGMA rekey(SECRET)", "PRAGMA rekey(?)"),
    ("sqlite", "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = WAL"),
    ("sqlite", "ATTACH DATABASE 'file:SECRET?key=SECRET2' AS x KEY SECRET", "ATTACH DATABASE ? AS x KEY ?"),
    ("sqlite", "ATTACH DATABASE x AS y KEY SECRET", "ATTACH DATABASE x AS y KEY ?"),
    ("postgresql", "NOTIFY chan, 'SECRET'", "NOTIFY chan, ?"),
    ("postgresql", "COMMENT ON TABLE t IS 'SECRET'", "COMMENT ON TABLE t IS ?"),
    ("postgresql", "COPY t FROM PROGRAM 'curl SECRET'", "COPY t FROM PROGRAM ?"),
    (
        "postgresql",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x password=SECRET' PUBLICATION p",
        "CREATE SUBSCRIPTION s CONNECTION ? PUBLICATION p",
    ),
    (
        "postgresql",
        "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password 'SECRET')",
        "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user ?, password ?)",
    ),
    (
        "postgresql",
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'SECRET')",
        "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host ?)",
    ),
    (
        "postgresql",
        "SELECT * FROM dblink('dbname=x password=SECRET', 'SELECT 1') AS t(a int)",
        "SELECT * FROM dblink(?, ?) AS t(a int)",
    ),
    (
        "postgresql",
        "SELECT U&'\\0441SECRET' UESCAPE '!' , U&\"d\\0061t\" FROM t",
        'SELECT ? UESCAPE ? , U&"d\\0061t" FROM t',
    ),
    (
        "postgresql",
        "SELECT data #>> '{SECRET}' , data -> 'SECRET', data @? '$.SECRET' FROM t",
        "SELECT data #>> ? , data -> ?, data @? ? FROM t",
    ),
    ("postgresql", "DO $$ BEGIN PERFORM 'SECRET'; END $$", "DO ?"),
    ("postgresql", "DO LANGUAGE plpgsql $x$ SECRET $x$", "DO LANGUAGE plpgsql ?"),
    ("postgresql", "PREPARE p AS SELECT 'SECRET'", "PREPARE p AS SELECT ?"),
    ("postgresql", "EXECUTE p('SECRET', 5)", "EXECUTE p(?, ?)"),
    ("postgresql", "SELECT E'a\\'SECRET', B'01', X'5ec' FROM t", "SELECT ?, ?, ? FROM t"),
    ("postgresql", "SELECT 'a' 'SECRET' FROM t", "SELECT ? ? FROM t"),
    (
        "mysql",
        "SELECT _utf8'SECRET', _utf8mb4 'SECRET', N'SECRET', x'5e', b'01', 0xSECRET FROM t",
        "SELECT ?, _utf8mb4 ?, ?, ?, ?, ? FROM t",
    ),
    ("mysql", "SELECT /*+ MAX_EXECUTION_TIME(1000) SECRET */ a FROM t", "SELECT a FROM t"),
    ("mysql", "SELECT /*!50000 'SECRET', */ a FROM t", "SELECT ?, a FROM t"),
    ("mysql", "SELECT DATE\"SECRET\", TIMESTAMP 'SECRET' FROM t", "SELECT DATE?, TIMESTAMP ? FROM t"),
    ("mysql", "SELECT a->\"$.SECRET\", a->>'$.SECRET' FROM t", "SELECT a->?, a->>? FROM t"),
    ("mysql", "LOAD DATA LOCAL INFILE 'SECRET' INTO TABLE t", "LOAD DATA LOCAL INFILE ? INTO TABLE t"),
    (
        "mysql",
        "CHANGE MASTER TO MASTER_HOST='SECRET', MASTER_PASSWORD='SECRET'",
        "CHANGE MASTER TO MASTER_HOST=?, MASTER_PASSWORD=?",
    ),
    ("mysql", "SET @x = 'SECRET', @y = \"SECRET\"", "SET @x = ?, @y = ?"),
    ("mysql", "HANDLER t READ i = ('SECRET')", "HANDLER t READ i = (?)"),
    ("oracle.db", "SELECT q'[SECRET's]', nq'{SECRET}', Q'!SECRET!' FROM dual", "SELECT ?, ?, ? FROM dual"),
    ("oracle.db", "EXECUTE IMMEDIATE 'SECRET'", "EXECUTE IMMEDIATE ?"),
    (
        "oracle.db",
        "SELECT DATE '2020-SECRET', TIMESTAMP 'SECRET', INTERVAL 'SECRET' DAY FROM dual",
        "SELECT DATE ?, TIMESTAMP ?, INTERVAL ? DAY FROM dual",
    ),
    ("microsoft.sql_server", "SELECT N'SECRET', 0xSECRET, $5.00 FROM t", "SELECT ?, ?, ? FROM t"),
    (
        "microsoft.sql_server",
        "OPEN SYMMETRIC KEY k DECRYPTION BY PASSWORD = 'SECRET'",
        "OPEN SYMMETRIC KEY k DECRYPTION BY PASSWORD = ?",
    ),
    ("microsoft.sql_server", "BACKUP DATABASE d TO DISK = 'SECRET'", "BACKUP DATABASE d TO DISK = ?"),
    ("microsoft.sql_server", "PRINT 'SECRET'", "PRINT ?"),
    ("postgresql", 'LISTEN "chan"', 'LISTEN "chan"'),
    ("postgresql", "SELECT set_config('app.k', 'SECRET', true)", "SELECT set_config(?, ?, ?)"),
    ("postgresql", "VACUUM ANALYZE t", "VACUUM ANALYZE t"),
    ("mysql", "CALL p(\"SECRET\", 'SECRET')", "CALL p(?, ?)"),
    (
        "snowflake",
        "CREATE STAGE s URL='s3://SECRET' CREDENTIALS=(AWS_KEY_ID='SECRET' AWS_KEY='SECRET')",
        "CREATE STAGE s URL=? CREDENTIALS=(AWS_KEY_ID=? AWS_KEY=?)",
    ),
    (
        "aws.redshift",
        "COPY t FROM 's3://SECRET' CREDENTIALS 'SECRET' IAM_ROLE 'SECRET'",
        "COPY t FROM ? CREDENTIALS ? IAM_ROLE ?",
    ),
    ("trino", "EXECUTE p USING 'SECRET', 5", "EXECUTE p USING ?, ?"),
)


@pytest.mark.parametrize(("system", "query", "text"), CASES, ids=[query for _, query, _ in CASES])
def test_a_value_is_hidden_and_a_name_is_shown(system, query, text):
    """SECRET stands wherever a value does; what is certainly a name stays, whatever its quotes."""
    statement = read(query, system)
    assert statement.text == text
    assert "SECRET" not in f"{statement.summary} {statement.targets} {statement.written}"


@pytest.mark.parametrize("system", ["postgresql", "mysql", "sqlite", "microsoft.sql_server", "oracle.db", "other_sql"])
@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff ", " \ufeff"])
def test_a_byte_order_mark_is_no_part_of_a_query(system, mark):
    """A script that an editor wrote: kind, text and fingerprint are those of the query."""
    plain = read("SELECT a FROM t WHERE b = 5", system)
    for marked in (f"{mark}SELECT a FROM t WHERE b = 7", f"{mark}SELECT a FROM t WHERE b = 7".encode()):
        statement = read(marked, system)
        assert (statement.kind, statement.text) == ("select", plain.text)
        assert statement.fingerprint == plain.fingerprint
