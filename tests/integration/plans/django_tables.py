"""Creates the tables of Django's own applications by its migrations, and prints queries of its ORM as JSON.

    python django_tables.py postgresql NAME HOST PORT USER PASSWORD
    python django_tables.py sqlite3 PATH

Run in a process of its own: a process has one configuration of Django.
"""

import datetime as dt
import json
import sys

import django
from django.conf import settings

APPS = ("contenttypes", "auth", "admin", "sessions")
KEYS = ("NAME", "HOST", "PORT", "USER", "PASSWORD")


def fill():
    """Rows of users, sessions and the log of the admin."""
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import Group, User
    from django.contrib.contenttypes.models import ContentType
    from django.contrib.sessions.models import Session

    now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    users = [
        User(username=f"user{i}", email=f"user{i}@example.org", last_login=now - dt.timedelta(hours=i), is_staff=i % 2)
        for i in range(4000)
    ]
    User.objects.bulk_create(users)
    ids = list(User.objects.order_by("id").values_list("id", flat=True))
    group = Group.objects.create(name="editors")
    User.groups.through.objects.bulk_create([User.groups.through(user_id=each, group_id=group.id) for each in ids[:50]])
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.bulk_create(
        [
            LogEntry(
                user_id=ids[i * 7 % 4000],
                content_type=kind,
                object_id=str(i * 13 % 3000),
                object_repr="a user",
                action_flag=1 + i % 3,
                action_time=now - dt.timedelta(minutes=i * 31 % 90_001),
            )
            for i in range(8000)
        ]
    )
    Session.objects.bulk_create(
        [Session(session_key=f"key{i}", session_data="x", expire_date=now + dt.timedelta(hours=i)) for i in range(3000)]
    )


def queries():
    """Name, queryset, and table to the beginnings of columns that it lacks an index of."""
    from django.contrib.admin.models import LogEntry
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session

    now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    users, log = "auth_user", "django_admin_log"
    yield "user by e-mail", User.objects.filter(email="user77@example.org"), {users: ["email"]}
    yield (
        "user by e-mail in any case",
        User.objects.filter(email__iexact="USER77@example.org"),
        {users: ['UPPER(CAST("email" AS TEXT))']},
    )
    yield "recent logins", User.objects.filter(last_login__gt=now - dt.timedelta(hours=9)), {users: ["last_login"]}
    yield "last logins", User.objects.order_by("-last_login")[:10], {users: ["last_login"]}
    yield "changelist of the log", LogEntry.objects.order_by("-action_time")[:10], {log: ["action_time"]}
    yield (
        "history of an object",
        LogEntry.objects.filter(object_id="77", content_type__model="user"),
        {log: ["object_id", "content_type_id"]},
    )
    yield (
        "days of a month",
        LogEntry.objects.filter(action_time__range=(now - dt.timedelta(hours=9), now)),
        {log: ["action_time"]},
    )
    yield "user by name", User.objects.filter(username="user77"), {}
    yield "user by key", User.objects.filter(pk=7), {}
    yield "members of a group", User.objects.filter(groups__name="editors"), {}
    yield "groups of a user", User.groups.through.objects.filter(user_id=7), {}
    yield "log of a user", LogEntry.objects.filter(user_id=7).order_by("-action_time")[:10], {}
    yield "log with its user", LogEntry.objects.select_related("user").filter(pk=7), {}
    yield "expired sessions", Session.objects.filter(expire_date__lt=now + dt.timedelta(hours=9)), {}
    yield "session by key", Session.objects.filter(session_key="key7"), {}
    yield "half of the users", User.objects.filter(is_staff=True), {}


def main(engine, *values):
    """Configure Django, migrate, fill, and print."""
    database = {"ENGINE": f"django.db.backends.{engine}", **dict(zip(KEYS, values, strict=False))}
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=[f"django.contrib.{each}" for each in APPS],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    fill()
    found = []
    for name, queryset, lacks in queries():
        sql, params = queryset.query.sql_with_params()
        with connection.cursor() as cursor:
            if engine == "postgresql":
                text = cursor.mogrify(sql, params)
            else:
                text = connection.ops.last_executed_query(cursor, sql, params)
        found.append((name, text.decode() if isinstance(text, bytes) else text, lacks))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
