"""Cases of public reports about queries: loops, repetitions, slow ones, budgets, and calls that stop an event loop."""

from builders import NOW_NS, TRACE_ID
from dbsight.model import CallSite, Database
from dbsight.recording import OpenWindow
from dbsight.statement.redis.reader import read_command
from unit.detect.loops import loop, make_window, one

POSTGRESQL, MYSQL = Database("postgresql", "shop", "db", 5432), Database("mysql", "shop", "db", 3306)
REDIS = Database("redis", "0", "localhost", 6379)
AUTHOR = 'SELECT "author"."id", "author"."name" FROM "author" WHERE "author"."id" = ?'
OF_AN_AUTHOR = {"relationship": "Book.author", "load": "lazy", "to_many": False, "entity": "Author", "rows": 1}
URLS = "SELECT index_record_url.did, index_record_url.url FROM index_record_url WHERE ? = index_record_url.did"
OF_A_RECORD = {
    "relationship": "IndexRecord.urls",
    "load": "lazy",
    "to_many": True,
    "entity": "IndexRecordUrl",
    "rows": 2,
}
MESSAGES = "SELECT messages.id, messages.content FROM messages WHERE ? = messages.chat_id"
OF_A_CHAT = {"relationship": "Chat.messages", "load": "lazy", "to_many": True, "entity": "Message", "rows": 5}
TICKETS = "SELECT `date` FROM issues WHERE `system` = ? AND DATE(`date`) <= ? AND (date_done IS NULL OR date_done >= ?)"
USER = "SELECT id, name FROM users WHERE email = ? AND account = ? LIMIT 1"
NEW_USER = "INSERT INTO users (email, account, name) VALUES (?, ?, ?)"
SETTINGS = "SELECT id, working_time, calendar FROM settings"
BLOG = "SELECT * FROM canvas_settings WHERE setting_name = ? LIMIT 1"
ENTITY = "SELECT peID, petID FROM PermissionAccessEntities WHERE peID = ?"
BASE = "SELECT Value FROM Config WHERE Name = ?"
NODES = (
    "SELECT COUNT(*) FROM categories JOIN category_hierarchies ON categories.id = ancestor_id"
    " WHERE descendant_id = $1 AND (categories.id != {})"
)
CHECK = (
    "SELECT codename FROM auth_permission JOIN guardian_userobjectpermission ON auth_permission.id = permission_id"
    " WHERE content_type_id = %s AND user_id = %s AND object_pk = %s"
)
POSTS = "SELECT posts.id, posts.title FROM posts WHERE posts.user_id = $1"
DEQUEUE = "SELECT id, payload FROM queue WHERE not_before <= ? ORDER BY id LIMIT 1"
TYPE = (
    "SELECT django_content_type.id FROM django_content_type JOIN auth_permission ON content_type_id ="
    " django_content_type.id WHERE app_label = %s AND codename = %s LIMIT 21"
)
CHANGED = "SELECT ident, last_update FROM django_celery_beat_periodictasks WHERE ident = %s LIMIT 21"
PERIOD = "DELETE FROM sentry_groupopenperiod WHERE id IN (%s)"
PERSON = "SELECT * FROM persons WHERE persons.id = ? LIMIT 1"
VIOLATION = "INSERT INTO hpd_violations (violationid, buildingid, class) VALUES (?, ?, ?)"
MONSTER = "INSERT INTO api_monster (name, size, hit_points) VALUES (?, ?, ?)"
BOOK = "INSERT INTO core_book (name, author_id) VALUES (?, ?)"
CHARTED = "SELECT count(*) FROM capdb_casemetadata WHERE court_id IS NOT NULL AND duplicative = ?"
CANDIDATES = "SELECT committee_id, amount, payee FROM disclosure.fec_fitem WHERE two_year_period = ?"
OBSERVED = (
    "WITH connected AS (SELECT id FROM links) SELECT c.id, count(*) FROM candidates c JOIN connected ON true GROUP BY 1"
)
CONTRACT = "SELECT address, name FROM contract WHERE address = ? AND chain_id = ?"


def window(*operations, duration=1.0):
    """A request with these operations."""
    return make_window(operations, duration)


def thread(*operations, duration=60.0):
    """What a thread does that serves no request."""
    return make_window(operations, duration, request=False)


def each(count, text, *, duration=0.003, pause=0.001, **fields):
    """The same query with other parameters each time, one after the other."""
    return loop(count, text, every=duration + pause, duration=duration, **{"database": POSTGRESQL, **fields})


def same(count, text, **fields):
    """The same query with the same parameters."""
    return each(count, text, parameters=7, **fields)


def found_or_made(count):
    """As ``get_or_create`` does it, row by row."""
    return [
        operation
        for number in range(count)
        for operation in (
            one(USER, at=number * 0.01, parameters=number, rows=0, database=POSTGRESQL),
            one(NEW_USER, at=number * 0.01 + 0.004, parameters=number, affected=1, database=POSTGRESQL),
        )
    ]


def in_savepoints(count, text):
    """Each row may fail."""
    return [
        operation
        for number in range(count)
        for operation in (
            one("SAVEPOINT s1", at=number * 0.01, database=POSTGRESQL),
            one(text, at=number * 0.01 + 0.002, parameters=number, affected=1, database=POSTGRESQL),
        )
    ]


def deleted(count):
    """Rows that are deleted and committed one by one."""
    return [
        operation
        for number in range(count)
        for operation in (
            one(
                "DELETE FROM log WHERE log.id = ?", at=number * 0.01, parameters=number, affected=1, database=POSTGRESQL
            ),
            one("COMMIT", at=number * 0.01 + 0.004, database=POSTGRESQL),
        )
    ]


def heartbeats(schedules, seconds):
    """Each schedule tells every second that it is there."""
    text = "UPDATE pgqueuer_schedules SET heartbeat = now() WHERE id = $1"
    made = [
        one(text, at=second + number / 100, parameters=number, affected=1, database=POSTGRESQL)
        for second in range(seconds)
        for number in range(schedules)
    ]
    for operation in made:
        operation.values = {0: operation.parameters}
    return made


def slow(text, duration, database=POSTGRESQL, **fields):
    """A request with one slow query."""
    return window(one(text, duration=duration, database=database, **fields), duration=duration + 0.1)


def keys(pattern, duration, **fields):
    """``KEYS`` on Redis."""
    return slow(read_command(("KEYS", pattern)), duration, REDIS, **fields)


def spent(calls, seconds=0.2, *, route="GET /dashboard", **budget):
    """A request with so many queries, and the budget of its route."""
    opened = OpenWindow(route, TRACE_ID, 1, NOW_NS, request=True)
    opened.calls, opened.db_time = calls, seconds
    return opened, {"budgets": {route: budget}}


def blocked(*operations, **fields):
    """Synchronous calls on a running event loop."""
    return window(*[one(text, **{"duration": seconds, "blocked_loop": True, **fields}) for text, seconds in operations])


def commands(count, duration=0.0004, **fields):
    """Commands of Redis, one after the other."""
    get = read_command(("GET", "contract:1"))
    options = {"database": REDIS, "duration": duration, "blocked_loop": True, **fields}
    return window(*[one(get, at=number * 0.01, **options) for number in range(count)])


CASES = {
    "n_plus_one": {
        "a query per foreign key": lambda: window(*each(50, AUTHOR, **OF_AN_AUTHOR)),
        "a hundred ids": lambda: window(*each(100, URLS, duration=0.009, **OF_A_RECORD)),
        "a hundred ids mended": lambda: window(
            one("SELECT r.did, u.url FROM index_record r LEFT OUTER JOIN index_record_url u ON r.did = u.did", rows=200)
        ),
        "messages of chats": lambda: window(*each(12, MESSAGES, **OF_A_CHAT)),
        "29 calls": lambda: window(*each(29, TICKETS, duration=0.0071, database=MYSQL), duration=0.5),
        "connections in between": lambda: window(
            *each(12, "SELECT id, title FROM lessons WHERE course_id = $1", pause=0.04, connect_time=0.03)
        ),
        "a count per node": lambda: window(
            *[
                one(NODES.format(1100 + at), at=at * 0.002, duration=0.0005, parameters=at, database=POSTGRESQL)
                for at in range(60)
            ]
        ),
        "a check per object": lambda: window(*each(40, CHECK)),
        "resolvers at once": lambda: window(*each(25, POSTS, duration=0.03, pause=-0.0299, asynchronous=True)),
        "an idle queue": lambda: thread(*each(300, DEQUEUE, pause=0.2)),
        "batches of 500": lambda: window(
            *each(4, "SELECT id, event_id FROM occurrences WHERE event_id IN (?, ?)", load="eager", rows=500)
        ),
        "found or created": lambda: window(*found_or_made(20)),
        "two tables": lambda: window(
            one('SELECT "institutions".* FROM "institutions" WHERE "institutions"."id" = $1', parameters=1),
            one('SELECT "awards".* FROM "awards" WHERE "awards"."transcript_id" = $1', parameters=2, at=0.01),
        ),
        "one record": lambda: window(*each(1, AUTHOR, **OF_AN_AUTHOR)),
        "checked for being unique": lambda: window(
            *[
                one(
                    f'SELECT 1 AS one FROM "users" WHERE "{name}" = ? AND "id" != ? LIMIT ?', parameters=at, at=at / 100
                )
                for at, name in enumerate(("email", "login", "slug", "token"))
            ]
        ),
    },
    "redundant_query": {
        "one row of settings": lambda: window(*same(16, SETTINGS)),
        "one row of settings mended": lambda: window(*same(1, SETTINGS)),
        "title of the blog": lambda: window(*same(7, BLOG, database=MYSQL)),
        "each setting once": lambda: window(*each(5, BLOG, database=MYSQL)),
        "access entity": lambda: window(*same(52, ENTITY, database=MYSQL)),
        "base path": lambda: window(*same(6, BASE, database=MYSQL)),
        "leaves of a tree": lambda: window(
            *[
                one(PERSON, at=number / 100, parameters=7, call_site=CallSite("tree.py", number, f"leaf_{number}"))
                for number in range(5)
            ]
        ),
        "type of a permission": lambda: window(*same(5, TYPE)),
        "the last change of a schedule": lambda: thread(*same(120, CHANGED, pause=0.5)),
        "other leaves": lambda: window(*each(30, PERSON)),
        "author and editor": lambda: window(*same(2, PERSON)),
        "after each write": lambda: window(
            *[
                operation
                for number in range(6)
                for operation in (
                    one(SETTINGS, at=number / 10, parameters=1, database=POSTGRESQL),
                    one(
                        "UPDATE settings SET calendar = ?",
                        at=number / 10 + 0.01,
                        parameters=number,
                        database=POSTGRESQL,
                    ),
                )
            ]
        ),
    },
    "row_by_row_write": {
        "20 000 rows": lambda: window(*each(2000, VIOLATION, duration=0.0008, pause=0.0001, affected=1), duration=2.0),
        "20 000 rows mended": lambda: window(one(VIOLATION, affected=1000, batch_size=1000, duration=0.1)),
        "each model saved": lambda: window(*each(300, MONSTER, affected=1), duration=1.5),
        "a network away": lambda: window(
            *each(100, "INSERT INTO fake (name) VALUES (?)", duration=0.1, affected=1, database=MYSQL), duration=11.0
        ),
        "an import": lambda: window(*each(500, BOOK, affected=1), duration=3.0),
        "an import mended": lambda: window(*each(5, BOOK, affected=1000, batch_size=1000, duration=0.05)),
        "fixtures": lambda: window(*each(100, "INSERT INTO app_post (title) VALUES (?)", affected=1)),
        "deleted one by one": lambda: thread(*deleted(30), duration=0.4),
        "a migration": lambda: thread(*each(500, PERIOD, affected=1), duration=3.0),
        "heartbeats of schedules": lambda: thread(*heartbeats(10, 20), duration=20.0),
        "what the driver makes of executemany": lambda: window(
            one("INSERT INTO t (a, b) VALUES (?, ?)", batch_size=800, affected=800, duration=30.0, database=MYSQL)
        ),
        "3854 rows by one executemany": lambda: window(
            one("INSERT INTO t (a, b) VALUES (?, ?)", batch_size=3854, affected=3854, duration=1.9, database=MYSQL)
        ),
        "a savepoint each": lambda: window(*in_savepoints(20, "INSERT INTO nodes (path) VALUES (?)")),
    },
    "slow_query": {
        "81 columns": lambda: slow(CANDIDATES, 531.9),
        "counted": lambda: slow(CHARTED, 572.9),
        "31 million comparisons": lambda: slow(OBSERVED, 27.6),
        "31 million comparisons mended": lambda: slow(OBSERVED, 0.039),
        "keys of a cache": lambda: keys("cacheman:*", 0.971),
        "a sequential scan": lambda: slow(
            "SELECT id FROM geo WHERE st_within(point, ?) ORDER BY size DESC LIMIT 9", 1.3
        ),
        "300 ms": lambda: slow("SELECT * FROM users WHERE enabled = true", 0.3, rows=4000),
        "20 ms": lambda: slow("SELECT experience_id FROM requirement_experience WHERE pool_candidate_id = $1", 0.02),
        "asleep": lambda: slow("SELECT pg_sleep(60)", 60.0),
        "listens": lambda: slow("LISTEN jobs", 3600.0),
    },
    "budget_exceeded": {
        "26 of 25": lambda: spent(26, queries=25),
        "26 of 25 mended": lambda: spent(26, queries=26),
        "38 of 37": lambda: spent(38, queries=37, route="GET /trade-points"),
        "6 of 5": lambda: spent(6, queries=5, route="GET /exams"),
        "a read per pod": lambda: spent(12, queries=4, route="GET /organizations"),
        "flat": lambda: spent(4, queries=4, route="GET /organizations"),
        "578 queries": lambda: spent(578, 0.341, queries=30, route="GET /courses"),
        "578 queries mended": lambda: spent(21, 0.031, queries=30, route="GET /courses"),
        "a list of 40 posts": lambda: spent(3, queries=3, route="GET /posts"),
        "without a budget": lambda: spent(200, route="GET /other"),
    },
    "blocking_call": {
        "a cache of contracts": lambda: commands(200),
        "a session in Redis": lambda: commands(60, 0.001),
        "a cache of flows": lambda: commands(1, 0.2),
        "a route of coroutines": lambda: blocked((CONTRACT, 0.3), database=POSTGRESQL),
        "three databases": lambda: blocked(("SELECT a FROM b", 0.03), ("SELECT c FROM d", 0.04), database=MYSQL),
        "a cache of contracts mended": lambda: commands(200, blocked_loop=False, asynchronous=True),
        "a route in a thread": lambda: blocked((CONTRACT, 0.3), database=POSTGRESQL, blocked_loop=False),
        "run_in_threadpool": lambda: window(
            *[one(CONTRACT, at=0.01, duration=0.2, thread=thread, blocked_loop=False) for thread in range(2, 6)]
        ),
        "one fast command": lambda: commands(1, 0.0003),
        "a notebook": lambda: blocked((CONTRACT, 0.3), call_site=CallSite("/tmp/ipykernel_1/2.py", 1, "<module>")),
    },
}
