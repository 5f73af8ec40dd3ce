"""What Django loads and an application does not read: each fault beside its fix, on one database; prints JSON.

python -m integration.django_shop.loads sqlite3 shop.db
python -m integration.django_shop.loads postgresql name host port user password
"""

import copy
import json
import pickle
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

import dbsight
from dbsight.config import Settings
from integration.django_shop.program import ITEMS, configure, fill

FAULTS = {}
LEFT_ALONE = {}
KEPT = []
RULES = ("unused_eager_load", "over_fetch", "client_side_filter")


def fault(rule, suggestion, queryset, fixed):
    """Register a function of a queryset as a fault; the querysets are made by functions."""

    def register(work):
        FAULTS[work.__name__] = (rule, suggestion, lambda: work(queryset()), lambda: work(fixed()))
        return work

    return register


def left_alone(work):
    """Register a function in which nothing is found."""
    LEFT_ALONE[work.__name__] = work
    return work


def register():  # noqa: C901, PLR0915 - a list
    """Register all; Django is set up by now."""
    from django.core.paginator import Paginator
    from django.db.models import Prefetch
    from django.forms.models import model_to_dict
    from django.template.loader import render_to_string
    from django.template.response import TemplateResponse
    from django.test import RequestFactory
    from rest_framework import serializers
    from rest_framework.generics import ListAPIView
    from rest_framework.test import APIRequestFactory

    from integration.django_shop.models import Author, Book, Category, Profile, Publisher, Review

    # -- Eager loads ------------------------------------------------------------------------------------------------
    @fault(
        "unused_eager_load",
        'remove select_related("author")',
        lambda: Book.objects.select_related("author"),
        Book.objects.all,
    )
    def a_log_with_its_users(books):
        """github.com/jmcarp/nplusone issue 27: the admin's log brings users whom a page does not read."""
        return [book.title for book in books]

    @fault(
        "unused_eager_load",
        'remove prefetch_related("reviews")',
        lambda: Book.objects.prefetch_related("reviews"),
        Book.objects.all,
    )
    def prefetched_and_not_read(books):
        """github.com/charettes/django-seal issue 87: joins that are never used downstream."""
        return [book.title for book in books]

    @fault(
        "unused_eager_load",
        'remove prefetch_related("author__publisher")',
        lambda: Book.objects.prefetch_related("author__publisher"),
        lambda: Book.objects.prefetch_related("author"),
    )
    def the_second_step_of_a_path(books):
        """github.com/jmcarp/nplusone issue 34: the first step of a path is read, and the second is not."""
        return [book.author.name for book in books]

    @fault(
        "unused_eager_load",
        'remove select_related("author__publisher")',
        lambda: Book.objects.select_related("author__publisher"),
        lambda: Book.objects.select_related("author"),
    )
    def the_second_step_of_a_join(books):
        """The same, by joins."""
        return [book.author.name for book in books]

    @fault(
        "unused_eager_load",
        'remove select_related("profile")',
        lambda: Author.objects.select_related("profile"),
        Author.objects.all,
    )
    def the_other_side_of_a_key(authors):
        """A one-to-one relation from the side that has no key."""
        return [author.name for author in authors]

    @fault(
        "unused_eager_load",
        'remove prefetch_related("tags")',
        lambda: Book.objects.prefetch_related("tags"),
        Book.objects.all,
    )
    def a_page_that_its_response_keeps(books):
        """A rendered response refers to its context until it is gone."""
        response = TemplateResponse(
            RequestFactory().get("/"), "titles.html", {"page": Paginator(books.order_by("id"), 50).page(1)}
        )
        KEPT.append(response.render())
        return response.content

    class BookSerializer(serializers.ModelSerializer):
        """Of one column."""

        class Meta:
            """Of books."""

            model = Book
            fields = ("id", "title")

    class Books(ListAPIView):
        """As JSON."""

        serializer_class = BookSerializer

    @fault(
        "unused_eager_load",
        'remove select_related("author")',
        lambda: Book.objects.select_related("author"),
        Book.objects.all,
    )
    def a_list_of_the_rest_framework(books):
        """Its response refers to the serializer, and that to the books."""
        KEPT.append(Books.as_view(queryset=books)(APIRequestFactory().get("/")).render())
        return KEPT[-1].data

    # -- Columns ----------------------------------------------------------------------------------------------------
    @fault("over_fetch", 'Book.objects.only("title")', Book.objects.all, lambda: Book.objects.only("title"))
    def titles(books):
        """github.com/pypi/warehouse pull request 3045: the long column is hardly ever wanted."""
        return [book.title for book in books]

    @fault("over_fetch", 'Book.objects.defer("body")', Book.objects.all, lambda: Book.objects.defer("body"))
    def all_but_the_body(books):
        """github.com/OpenSAK-Org/OpenSAK pull request 216: the blobs are deferred, because much else is read."""
        return [(book.title, book.hidden, book.author_id, book.editor_id) for book in books]

    @fault("over_fetch", 'Book.objects.only("title")', Book.objects.all, lambda: Book.objects.only("title"))
    def a_template(books):
        """It reads by its own ways."""
        return render_to_string("titles.html", {"page": books})

    # -- Filters ----------------------------------------------------------------------------------------------------
    @fault(
        "client_side_filter",
        "Publisher.objects.filter(name=…)",
        Publisher.objects.all,
        lambda: Publisher.objects.filter(name="publisher 3"),
    )
    def cut_down_here(publishers):
        """github.com/shannonturner/bechdel issue 25: all films are loaded, and cut down in Python."""
        return [publisher.country_id for publisher in publishers if publisher.name == "publisher 3"]

    @fault("client_side_filter", "Review.objects.filter(id=…)", Review.objects.all, lambda: Review.objects.filter(id=4))
    def looked_for_here(reviews):
        """github.com/DDMAL/Rodan issue 322: ``all()`` to find one by its key."""
        return next(iter({review.pk: review for review in reviews if review.pk == 4}.values())).stars

    @fault(
        "client_side_filter",
        "Publisher.objects.count()",
        Publisher.objects.all,
        lambda: Publisher.objects.filter(id__lt=3),
    )
    def counted_here(publishers):
        """All objects for a number."""
        return len(publishers)

    @fault(
        "client_side_filter",
        'Review.objects.aggregate(Sum("stars"))',
        Review.objects.all,
        lambda: Review.objects.filter(id__lt=3),
    )
    def added_up_here(reviews):
        """All objects for a sum."""
        return sum(review.stars for review in reviews)

    # -- To leave alone ---------------------------------------------------------------------------------------------
    @left_alone
    def prefetched_and_empty():
        """github.com/jmcarp/nplusone issue 13: there is nothing to be read."""
        leaves = Category.objects.filter(parent__isnull=False)
        return [category.name for category in leaves.prefetch_related("children")]

    @left_alone
    def prefetched_and_read():
        """By a manager."""
        return [
            [review.stars for review in book.reviews.all()]
            for book in Book.objects.defer("body").prefetch_related("reviews")
        ]

    @left_alone
    def prefetched_to_an_attribute():
        """By a list."""
        books = Book.objects.defer("body").prefetch_related(Prefetch("reviews", to_attr="all_reviews"))
        return [[review.stars for review in book.all_reviews] for book in books]

    @left_alone
    def one_object():
        """github.com/jmcarp/nplusone issue 10: a form loads one object with what it may need."""
        return Book.objects.defer("body").select_related("author").prefetch_related("tags").first().title

    @left_alone
    def kept_for_the_next_request():
        """github.com/flyerhzm/bullet issue 85: loaded for a cache."""
        KEPT.append(list(Book.objects.select_related("author")))
        return [book.title for book in KEPT[-1]]

    @left_alone
    def pickled():
        """For a cache of bytes."""
        books = list(Book.objects.select_related("author"))
        return [book.title for book in books], pickle.dumps(books)

    @left_alone
    def read_by_its_dict():
        """As serialisers without a model do."""
        return [vars(book)["body"] for book in Book.objects.all()]

    @left_alone
    def copied():
        """A copy has it all."""
        return [copy.copy(book).body for book in Book.objects.all()]

    @left_alone
    def by_a_form():
        """All columns."""
        return [model_to_dict(book, fields=["title", "body"]) for book in Book.objects.all()]

    @left_alone
    def changed():
        """Loaded to be written."""
        for book in Book.objects.all():
            book.title += ""
            book.save()

    @left_alone
    def found_by_another_way():
        """github.com/flyerhzm/bullet issue 147: two relations lead to the same objects."""
        books = Book.objects.select_related("author", "author__publisher", "author__publisher__country").defer("body")
        return [book.author.publisher.country.name for book in books]

    @left_alone
    def a_tree():
        """One level of it is read."""
        return [[child.name for child in each.children.all()] for each in Category.objects.prefetch_related("children")]

    @left_alone
    def most_are_used():
        """A condition that most meet."""
        return [profile.text for profile in Profile.objects.all() if profile.author_id > 2]

    @left_alone
    def a_list_of_names():
        """github.com/quantifiedcode/python-anti-patterns issue 56: one attribute of each; the rows are small."""
        return [publisher.name for publisher in Publisher.objects.all()]


def main(arguments):
    """Run, and print."""
    provider = TracerProvider()
    settings = Settings(
        rules=RULES,
        watch_reads=True,
        process_metrics=False,
        over_fetch_threshold=2000,
        client_side_filter_threshold=ITEMS,
    )
    processor = dbsight.DbsightSpanProcessor(settings=settings)
    provider.add_span_processor(processor)
    for name in ("SQLite3Instrumentor", "PsycopgInstrumentor"):
        getattr(dbsight, name)().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("program")
    configure(*arguments)
    with tracer.start_as_current_span("fill"):
        fill()
        from integration.django_shop.models import Book

        Book.objects.update(body="long " * 100)
    register()

    def found(work):
        processor.analyzer.reset()
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER):
            work()
        findings = [each.finding for each in processor.analyzer.snapshot().findings]
        return [
            {
                "rule": each.rule,
                "suggestion": each.suggestion,
                "place": each.call_site.function,
                "impact": each.impact,
                "description": each.description,
            }
            for each in findings
        ]

    results = {
        "faults": {
            name: {"rule": rule, "suggestion": suggestion, "fault": found(work), "fixed": found(fixed)}
            for name, (rule, suggestion, work, fixed) in FAULTS.items()
        },
        "left_alone": {name: found(work) for name, work in LEFT_ALONE.items()},
        "errors": dbsight.safety.errors(),
    }
    from django.db.models import Model

    results["patched"] = "__getattribute__" in vars(Model)
    model = guessing()
    results["behaviour"] = behaviour(model)
    provider.shutdown()
    results["patched_after"] = "__getattribute__" in vars(Model)
    results["behaviour_without"] = behaviour(model)
    print(json.dumps(results))


def guessing():
    """A model with hooks of its own."""
    from integration.django_shop.models import Book

    class Shouting:
        """Its hook stands behind that of ``Model``."""

        def __getattribute__(self, name):
            value = super().__getattribute__(name)
            return value.upper() if name == "title" else value

    class Guessing(Book, Shouting):
        """Answers for what is missing."""

        class Meta:
            """The same table."""

            proxy = True
            app_label = "django_shop"

        @property
        def broken(self):
            """Raises what looks like a missing attribute."""
            return self.missing_of_broken

        def __getattr__(self, name):
            if name.startswith("missing"):
                return name
            raise AttributeError(name)

    return Guessing


def behaviour(model):
    """What is seen of its objects."""
    from integration.django_shop.models import Book

    book = model.objects.defer("body").get(pk=1)
    said = [book.title, book.missing, book.broken, book.body, sorted(set(vars(book)) - {"_state"}), hasattr(book, "no")]
    try:
        _ = Book.objects.get(pk=1).nothing
    except AttributeError as error:
        said.append(str(error))
    del book.title
    said += [book.title, pickle.loads(pickle.dumps(Book.objects.get(pk=1))).title, repr(Book.objects.get(pk=1))]
    return [*said, copy.copy(book).title, book == Book.objects.get(pk=1), hash(book) == hash(book)]


if __name__ == "__main__":
    main(sys.argv[1:])
