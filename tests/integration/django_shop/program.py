"""Runs every case on one database, and prints what was found, as JSON.

python -m integration.django_shop.program sqlite3 shop.db
python -m integration.django_shop.program postgresql name host port user password
"""

import asyncio
import importlib
import inspect
import json
import linecache
import pickle
import pickletools
import sys
import threading
from pathlib import Path

import django
from django.conf import settings
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import dbsight
from dbsight import safety, semconv

ITEMS = 12
"""Rows of each table."""


def configure(engine, name, host="", port="", user="", password=""):
    """As a ``settings.py`` would."""
    database = {"ENGINE": f"django.db.backends.{engine}", "NAME": name, "HOST": host, "PORT": port}
    settings.configure(
        DATABASES={"default": {**database, "USER": user, "PASSWORD": password}},
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.admin",
            "rest_framework",
            "integration.django_shop",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [str(Path(__file__).parent / "templates")],
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        ROOT_URLCONF="integration.django_shop.urls",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        SECRET_KEY="of a test",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
    )
    django.setup()


def fill():
    """Make the tables and their rows."""
    from django.apps import apps
    from django.contrib.contenttypes.models import ContentType
    from django.core.management import call_command
    from django.db import connection

    from integration.django_shop import models

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        for model in apps.get_app_config("django_shop").get_models():
            if not model._meta.proxy:
                editor.create_model(model)
    for number in range(ITEMS):
        country = models.Country.objects.create(name=f"country {number}")
        publisher = models.Publisher.objects.create(name=f"publisher {number}", country=country)
        author = models.Author.objects.create(name=f"author {number}", publisher=publisher)
        models.Shelf.kept.create(owner=author)
        models.Profile.objects.create(author=author, text="…")
        tag = models.Tag.objects.create(name=f"tag {number}")
        novel = models.Novel.objects.create(title=f"novel {number}", author=author, editor=author, genre="crime")
        novel.tags.add(tag)
        models.Review.objects.create(book=novel, stars=number % 5)
        above = models.Category.objects.create(name=f"above {number}")
        models.Category.objects.create(name=f"below {number}", parent=above)
        kind = ContentType.objects.get_for_model(models.Book)
        models.Comment.objects.create(content_type=kind, object_id=novel.pk, text="…")
        models.Pin.objects.create(kind_id=1000 + number, number=1)
    of_kinds = ContentType.objects.get_for_model(ContentType)
    for kind in ContentType.objects.get_for_models(*apps.get_models()).values():
        models.Pin.objects.create(kind=of_kinds, number=kind.pk)
        models.Pin.objects.create(kind=kind, number=2000)


def count_objects():
    """What is counted of a model: all are loaded, some written, others counted and read as values."""
    from integration.django_shop.models import Country, Tag

    before = dbsight.model_stats(Country)
    list(Country.objects.all())
    list(Country.objects.values("name"))
    Country.objects.count()
    country = Country.objects.raw("SELECT * FROM django_shop_country WHERE name = 'country 0'")[0]
    country.save()
    Country.objects.bulk_create([Country(name="new") for _ in range(3)])
    Country.objects.filter(name="new").delete()
    list(Tag.objects.none())
    after = dbsight.model_stats(Country)
    return {name: getattr(after, name) - getattr(before, name) for name in ("loads", "inserts", "updates", "deletes")}


def names_in_a_pickle():
    """The modules that an unpickled queryset of a relation needs."""
    from integration.django_shop.models import Author

    pickled = pickle.dumps(Author.objects.get(pk=1).book_set.filter(hidden=False).query, protocol=2)
    assert pickle.loads(pickled).model.__name__ == "Book"
    return sorted({each.split(" ")[0] for name, each, _ in pickletools.genops(pickled) if name.name == "GLOBAL"})


def mistakes():
    """What Django says of a field that cannot be joined, by its name; none of it is dbsight's to say."""
    from django.core.exceptions import FieldError

    from integration.django_shop.models import Book, Comment

    said = {}
    for model, name in ((Book, "title"), (Book, "nothing"), (Book, "author__name"), (Comment, "content_object")):
        try:
            list(model.objects.select_related(name))
        except FieldError as error:  # noqa: PERF203 - each has its own
            said[name] = str(error).partition(":")[0]
    return said


def switched(instrumentors, provider):
    """What threads that use the ORM get to hear while instrumentation is switched off and on, 20 times."""
    from django.db import connection

    from integration.django_shop.models import Book, Comment

    done, errors = threading.Event(), []

    def work():
        try:
            while not done.is_set():
                for book in Book.objects.prefetch_related("tags")[:3]:
                    _ = book.author, book.reviews.count(), list(book.tags.all())
                _ = [comment.content_object for comment in Comment.objects.all()[:3]]
        except Exception as error:
            errors.append(repr(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        for each in instrumentors:
            each.uninstrument()
        for each in instrumentors:
            each.instrument(tracer_provider=provider)
    done.set()
    for thread in threads:
        thread.join()
    return errors


def main(arguments):
    """Run, and print."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(dbsight.DbsightSpanProcessor(SimpleSpanProcessor(exporter)))
    instrumentors = dbsight.SQLite3Instrumentor(), dbsight.PsycopgInstrumentor()
    for each in instrumentors:
        each.instrument(tracer_provider=provider)
    tracer = provider.get_tracer("program")
    configure(*arguments)
    with tracer.start_as_current_span("fill"):
        fill()
    with tracer.start_as_current_span("count"):
        objects = count_objects()
    cases = importlib.import_module("integration.django_shop.cases")

    def found(work, pasted=""):
        """The findings of one request, and its queries; it is given what the pasted code gives."""
        exporter.clear()
        with tracer.start_as_current_span("GET /"):
            # Here, because a query of it would else have a window of its own, which ends during another case.
            values = [eval(pasted, {**vars(cases), "keys": cases.keys()})] if pasted else []
            if inspect.iscoroutinefunction(work):
                asyncio.run(work(*values))
            else:
                work(*values)
        spans = exporter.get_finished_spans()
        events = [event.attributes for span in spans for event in span.events if event.name == semconv.FINDING_EVENT]
        findings = [
            {
                "rule": event[semconv.FINDING_RULE],
                "severity": event[semconv.FINDING_SEVERITY],
                "relationship": event.get(semconv.ORM_RELATIONSHIP),
                "suggestion": event.get(semconv.FINDING_SUGGESTION),
                "title": event[semconv.FINDING_TITLE],
                "file": Path(event.get(semconv.CODE_FILE_PATH, "")).name,
                "line": linecache.getline(
                    event.get(semconv.CODE_FILE_PATH, ""), event.get(semconv.CODE_LINE_NUMBER, 0)
                ).strip(),
            }
            for event in events
        ]
        return {"findings": findings, "queries": [s.name for s in spans if s.kind.name == "CLIENT"]}

    results = {}
    for name, case in cases.CASES.items():
        results[name] = {
            "fault": found(case.fault),
            "expected": case.fixed and [case.rule, case.relationship, case.suggestion],
            "place": case.place,
            "also": case.also,
        }
        if case.fixed is not None:
            pasted = "" if case.writes else case.pasted or case.suggestion.partition("  #")[0]
            results[name]["fixed"] = found(case.fixed, pasted)
    settings.DEBUG = True  # Django logs queries, and on SQLite asks it to quote their parameters
    results["foreign key"]["debug"] = found(cases.CASES["foreign key"].fault)
    printed = {"cases": results, "objects": objects, "pickled": names_in_a_pickle(), "mistakes": mistakes()}
    printed["switched"] = switched(instrumentors, provider)
    print(json.dumps({**printed, "swallowed": safety.errors()}))


if __name__ == "__main__":
    main(sys.argv[1:])
