"""Faults of Django's ORM, with the code that mends each."""

import asyncio
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Prefetch
from django.db.models.signals import post_save
from django.template.loader import render_to_string
from django.test import Client
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.test import APIRequestFactory

from integration.django_shop.models import (
    Author,
    Book,
    Category,
    Comment,
    Favourite,
    Novel,
    Pin,
    Profile,
    Publisher,
    Review,
    Shelf,
    Tag,
)


@dataclass(frozen=True)
class Case:
    """A fault and its fix.

    Attributes:
        fault: What a request does.
        relationship: That the finding names.
        suggestion: Of the finding, word for word.
        fixed: The request with the suggestion in place, whose value it is given; None where nothing is to be found.
        rule: That finds it.
        pasted: What is given to ``fixed`` where the suggestion leaves something open.
        writes: ``fixed`` contains the suggestion itself.
        place: The file and the text of the line that are named; the file of the cases and any line by default.
        also: Other relationships that are found with it.
    """

    fault: Any
    relationship: str | None = None
    suggestion: str = ""
    fixed: Any = None
    rule: str = "n_plus_one"
    pasted: str = ""
    writes: bool = False
    place: tuple[str, str] | None = None
    also: tuple[str, ...] = ()


CASES: dict[str, Case] = {}


def keys():
    """Primary keys of books."""
    return list(range(1, 13))


def for_each(queryset, body):
    """What most requests do: ``body`` for each object of a queryset."""
    for item in queryset:
        body(item)


def named(function, name):
    """The same under a name of its own: two lambdas of one file and one query would be one fault."""
    new = {"co_name": name, **({"co_qualname": name} if hasattr(function.__code__, "co_qualname") else {})}
    return FunctionType(function.__code__.replace(**new), function.__globals__, name)


def target_or_none(pin):
    """Of a pin whose class may be gone."""
    try:
        return pin.target
    except ContentType.DoesNotExist:
        return None


def of_a_new_process(work):
    """What a request does when Django has not looked up a content type yet."""
    ContentType.objects.clear_cache()
    return work()


def loop(name, queryset, body, relationship, suggestion, **more):
    """A loop over a queryset, and the same loop over the suggested one."""
    body = named(body, name)
    fixed = named(more.pop("after", body), name)
    CASES[name] = Case(
        lambda: for_each(queryset(), body),
        relationship,
        suggestion,
        lambda better: for_each(better, fixed),
        **more,
    )


# -- Relations to one ------------------------------------------------------------------------------------------------
loop(
    "foreign key",
    Book.objects.all,
    lambda book: book.author.name,
    "Book.author",
    'Book.objects.select_related("author")',
)
loop(
    "foreign key that may be null",
    Book.objects.all,
    lambda book: book.editor and book.editor.name,
    "Book.editor",
    'Book.objects.select_related("editor")',
)
loop(
    "two steps",
    Book.objects.all,
    lambda book: book.author.publisher.name,
    "Author.publisher",
    'Book.objects.select_related("author__publisher")',
    also=("Book.author",),
)
loop(
    "three steps",
    Book.objects.all,
    lambda book: book.author.publisher.country.name,
    "Publisher.country",
    'Book.objects.select_related("author__publisher__country")',
    also=("Book.author", "Author.publisher"),
)
loop(
    "second step alone",
    lambda: Book.objects.select_related("author"),
    lambda book: book.author.publisher.name,
    "Author.publisher",
    'Book.objects.select_related("author__publisher")',
)
loop(
    "one to one",
    Profile.objects.all,
    lambda profile: profile.author.name,
    "Profile.author",
    'Profile.objects.select_related("author")',
)
loop(
    "one to one, from the other side",
    Author.objects.all,
    lambda author: author.profile.text,
    "Author.profile",
    'Author.objects.select_related("profile")',
)
loop(
    "proxy",
    Favourite.objects.all,
    lambda book: book.author.name,
    "Favourite.author",
    'Favourite.objects.select_related("author")',
)
loop(
    "inherited foreign key",
    Novel.objects.all,
    lambda novel: novel.author.name,
    "Novel.author",
    'Novel.objects.select_related("author")',
)
loop(
    "child table",
    Book.objects.all,
    lambda book: book.novel.genre,
    "Book.novel",
    'Book.objects.select_related("novel")',
)
loop(
    "tree, upwards",
    Category.objects.all,
    lambda category: category.parent and category.parent.name,
    "Category.parent",
    'Category.objects.select_related("parent__parent__parent")',
)
loop(
    "generic foreign key",
    Comment.objects.all,
    lambda comment: comment.content_object.title,
    "Comment.content_object",
    'Comment.objects.prefetch_related("content_object")',
)
loop(
    "generic foreign key to content types",
    lambda: Pin.objects.filter(kind__model="contenttype", number__lt=1000),
    lambda pin: pin.target.model,
    "Pin.target",
    'Pin.objects.prefetch_related("target")',
    pasted='Pin.objects.filter(kind__model="contenttype", number__lt=1000).prefetch_related("target")',
)
loop(
    "content types that do not exist",
    lambda: Pin.objects.filter(number=1),
    target_or_none,
    "Pin.target",
    "Pin.objects.filter(kind__in=ContentType.objects.all())",
    pasted="Pin.objects.filter(number=1).filter(kind__in=ContentType.objects.all())",
)
loop(
    "over an iterator",
    lambda: Book.objects.iterator(chunk_size=5),
    lambda book: book.author.name,
    "Book.author",
    'Book.objects.select_related("author")',
)
loop(
    "custom manager",
    Book.listed.all,
    lambda book: book.author.name,
    "Book.author",
    'Book.objects.select_related("author")',
)
loop(
    "method of the model",
    Book.objects.all,
    lambda book: book.byline(),
    "Book.author",
    'Book.objects.select_related("author")',
    place=("models.py", 'return f"by {self.author.name}"'),
)

# -- Relations to many ------------------------------------------------------------------------------------------------
loop(
    "reverse foreign key",
    Author.objects.all,
    lambda author: list(author.book_set.all()),
    "Author.book_set",
    'Author.objects.prefetch_related("book_set")',
)
loop(
    "reverse foreign key with a name",
    Book.objects.all,
    lambda book: list(book.reviews.all()),
    "Book.reviews",
    'Book.objects.prefetch_related("reviews")',
)
loop(
    "many to many",
    Book.objects.all,
    lambda book: list(book.tags.all()),
    "Book.tags",
    'Book.objects.prefetch_related("tags")',
)
loop(
    "many to many, from the other side",
    Tag.objects.all,
    lambda tag: list(tag.book_set.all()),
    "Tag.book_set",
    'Tag.objects.prefetch_related("book_set")',
)
loop(
    "generic relation",
    Book.objects.all,
    lambda book: list(book.comments.all()),
    "Book.comments",
    'Book.objects.prefetch_related("comments")',
)
loop(
    "tree, downwards",
    lambda: Category.objects.filter(parent=None),
    lambda category: list(category.children.all()),
    "Category.children",
    'Category.objects.prefetch_related("children__children__children")',
    pasted='Category.objects.filter(parent=None).prefetch_related("children")',
)
loop(
    "below a prefetch",
    lambda: Author.objects.prefetch_related("book_set"),
    lambda author: [list(book.reviews.all()) for book in author.book_set.all()],
    "Book.reviews",
    'Author.objects.prefetch_related("book_set__reviews")',
)
loop(
    "relation to many below one to one",
    Profile.objects.all,
    lambda profile: list(profile.author.book_set.all()),
    "Author.book_set",
    'Profile.objects.prefetch_related("author__book_set")',
    also=("Profile.author",),
)
loop(
    "counted one by one",
    Author.objects.all,
    lambda author: author.book_set.count(),
    "Author.book_set",
    'Author.objects.annotate(number=Count("book"))  # item.number',
    after=lambda author: author.number,
)
loop(
    "many to many, counted one by one",
    Book.objects.all,
    lambda book: book.tags.count(),
    "Book.tags",
    'Book.objects.annotate(number=Count("tags"))  # item.number',
    after=lambda book: book.number,
)
loop(
    "checked one by one",
    Author.objects.all,
    lambda author: author.book_set.exists(),
    "Author.book_set",
    'Author.objects.annotate(exists=Exists(Book.objects.filter(author=OuterRef("pk"))))  # item.exists',
    after=lambda author: author.exists,
)
loop(
    "many to many, checked one by one",
    Tag.objects.all,
    lambda tag: tag.book_set.exists(),
    "Tag.book_set",
    'Tag.objects.annotate(exists=Exists(Book.objects.filter(tags=OuterRef("pk"))))  # item.exists',
    after=lambda tag: tag.exists,
)
loop(
    "narrowed",
    Author.objects.all,
    lambda author: list(author.book_set.filter(hidden=False)),
    "Author.book_set",
    'Author.objects.prefetch_related(Prefetch("book_set", queryset=Book.objects.filter(…), to_attr="chosen"))'
    "  # item.chosen",
    pasted='Author.objects.prefetch_related(Prefetch("book_set", Book.objects.filter(hidden=False), to_attr="chosen"))',
    after=lambda author: author.chosen,
)

# -- Fields -----------------------------------------------------------------------------------------------------------
loop(
    "deferred",
    lambda: Book.objects.defer("body"),
    lambda book: book.body,
    "Book.body",
    'Book.objects.defer(None)  # without .defer("body"), or with "body" in .only()',
)
loop(
    "left out of only()",
    lambda: Book.objects.only("title"),
    lambda book: book.body,
    "Book.body",
    'Book.objects.only("title", "body")  # without .defer("body"), or with "body" in .only()',
)
loop(
    "deferred behind a join",
    lambda: Review.objects.select_related("book").defer("book__body"),
    lambda review: review.book.body,
    "Book.body",
    'Review.objects.select_related("book")  # without .defer("book__body"), or with it in .only()',
)
loop(
    "refreshed one by one",
    Book.objects.all,
    lambda book: book.refresh_from_db(),
    "Book",
    "Book.objects.in_bulk(keys)  # instead of refresh_from_db() for each",
    after=lambda key: key,
)
loop(
    "no manager called objects",
    Shelf.kept.all,
    lambda shelf: shelf.owner.name,
    "Shelf.owner",
    'Shelf.kept.select_related("owner")',
)
loop(
    "counted below a relation",
    lambda: Publisher.objects.prefetch_related("authors"),
    lambda publisher: [author.book_set.count() for author in publisher.authors.all()],
    "Author.book_set",
    'Publisher.objects.prefetch_related(Prefetch("authors", queryset=Author.objects.annotate(number=Count("book"))))'
    "  # item.number",
    after=lambda publisher: [author.number for author in publisher.authors.all()],
)
loop(
    "behind a nullable path of two joins",
    lambda: Review.objects.select_related("book__author"),
    lambda review: review.book.author.publisher.name,
    "Author.publisher",
    'Review.objects.select_related("book__author__publisher")',
)
loop(
    "relation to many below a join",
    lambda: Review.objects.select_related("book"),
    lambda review: list(review.book.tags.all()),
    "Book.tags",
    'Review.objects.prefetch_related("book__tags")',
)

# -- Queries in a loop ------------------------------------------------------------------------------------------------
CASES["get() by primary key"] = Case(
    lambda: [Book.objects.get(pk=key) for key in keys()],
    suggestion="Book.objects.in_bulk(keys)  # objects by primary key",
    fixed=lambda books: [books[key] for key in keys()],
)
CASES["get() by another field"] = Case(
    lambda: [Author.objects.get(name=f"author {number}") for number in range(12)],
    suggestion="Author.objects.filter(name__in=keys)",
    fixed=list,
)
CASES["count() in a loop"] = Case(
    lambda: [Book.objects.filter(author_id=key).count() for key in keys()],
    suggestion='Book.objects.filter(author_id__in=keys).values("author_id").annotate(number=Count("pk"))',
    fixed=list,
    pasted='Book.objects.filter(author_id__in=keys).values("author_id").annotate(number=Count("pk"))',
)
CASES["exists() in a loop"] = Case(
    lambda: [Book.objects.filter(author_id=key).exists() for key in keys()],
    suggestion='set(Book.objects.filter(author_id__in=keys).values_list("author_id", flat=True))',
    fixed=list,
)


def titles_of_one_author():
    """One object, and another condition each time."""
    author = Author.objects.get(pk=1)
    for number in range(12):
        list(author.book_set.filter(title=f"novel {number}"))


CASES["another condition on the relation of one object"] = Case(
    titles_of_one_author,
    "Author.book_set",
    "author.book_set.filter(title__in=keys)",
    list,
    pasted="Author.objects.get(pk=1).book_set.filter(title__in=keys)",
)
CASES["raw query in a loop"] = Case(
    lambda: [list(Tag.objects.raw("SELECT id, name FROM django_shop_tag WHERE id = %s", [key])) for key in keys()],
    suggestion="SELECT id, name FROM django_shop_tag WHERE id IN (…)",
    fixed=list,
    pasted='Tag.objects.raw("SELECT id, name FROM django_shop_tag WHERE id IN (1, 2, 3)")',
)


async def awaited():
    """The same from an asynchronous view."""
    for key in keys():
        await Book.objects.aget(pk=key)


async def awaited_at_once(books):
    """Asynchronous as well."""
    assert books is not None


CASES["aget() in a loop"] = Case(
    awaited,
    suggestion="Book.objects.in_bulk(keys)  # objects by primary key",
    fixed=awaited_at_once,
)


async def awaited_together():
    """Each is a task of its own, on whose stack is no line of the view."""
    await asyncio.gather(*[Book.objects.aget(pk=key) for key in keys()])


CASES["aget() gathered"] = Case(
    awaited_together,
    suggestion="Book.objects.in_bulk(keys)  # objects by primary key",
    fixed=awaited_at_once,
)

# -- Writes -----------------------------------------------------------------------------------------------------------
CASES["saved one by one"] = Case(
    lambda: [Tag.objects.create(name="new") for _ in range(12)],
    suggestion="Tag.objects.bulk_create(objects, batch_size=500)",
    fixed=lambda: Tag.objects.bulk_create([Tag(name="new") for _ in range(12)], batch_size=500),
    rule="row_by_row_write",
    writes=True,
)


def save_each():
    """Each object is written by itself."""
    for tag in list(Tag.objects.filter(name="new")):
        tag.name = "old"
        tag.save()


def save_at_once():
    """All in one statement."""
    tags = list(Tag.objects.filter(name="old"))
    Tag.objects.bulk_update(tags, ["name"], batch_size=500)


CASES["updated one by one"] = Case(
    save_each,
    suggestion='Tag.objects.bulk_update(objects, ["name"], batch_size=500)',
    fixed=save_at_once,
    rule="row_by_row_write",
    writes=True,
)
CASES["deleted one by one"] = Case(
    lambda: [Review.objects.filter(pk=key).delete() for key in range(1000, 1012)],
    suggestion="Review.objects.filter(pk__in=keys).delete()",
    fixed=lambda: Review.objects.filter(pk__in=keys()[:0] + list(range(1000, 1012))).delete(),
    rule="row_by_row_write",
    writes=True,
)


def count_again(instance, **_):
    """A receiver that asks the database for each object."""
    instance.book.reviews.count()


def signal():
    """Saves with a receiver; the rows are written in one statement each, too."""
    post_save.connect(count_again, Review)
    try:
        for review in Review.objects.all():
            review.save(update_fields=["stars"])
    finally:
        post_save.disconnect(count_again, Review)


CASES["receiver of a signal"] = Case(
    signal,
    "Review.book",
    'Review.objects.select_related("book")',
    lambda reviews: [review.book.title for review in reviews],
    also=("Book.reviews", "write"),
    place=("cases.py", "instance.book.reviews.count()"),
)

# -- Templates and the admin ------------------------------------------------------------------------------------------
CASES["template"] = Case(
    lambda: render_to_string("books.html", {"books": Book.objects.all()}),
    "Book.author",
    'Book.objects.select_related("author")',
    lambda books: render_to_string("books.html", {"books": books}),
    place=("books.html", "<li>{{ book.author.name }}</li>"),
)
CASES["loop in a template"] = Case(
    lambda: render_to_string("tags.html", {"books": Book.objects.all()}),
    "Book.tags",
    'Book.objects.prefetch_related("tags")',
    lambda books: render_to_string("tags.html", {"books": books}),
    place=("tags.html", "{% for tag in book.tags.all %}{{ tag.name }}{% endfor %}"),
)


class BookSerializer(serializers.ModelSerializer):
    """Shows the author's name, by a path."""

    by = serializers.CharField(source="author.name")

    class Meta:
        """Fields."""

        model = Book
        fields = ("title", "by")


class Books(ListAPIView):
    """A list of books as JSON; no line of the application runs in between."""

    queryset = Book.objects.all()
    serializer_class = BookSerializer


def listed(queryset):
    """The page of the API over this queryset."""
    view = Books.as_view(queryset=queryset)
    assert len(view(APIRequestFactory().get("/")).render().data) == len(keys())


CASES["serializer of the REST framework"] = Case(
    lambda: listed(Book.objects.all()),
    "Book.author",
    'Book.objects.select_related("author")',
    listed,
    place=("cases.py", "class BookSerializer(serializers.ModelSerializer):"),
)


class TagSerializer(serializers.ModelSerializer):
    """Part of a book's."""

    class Meta:
        """Fields."""

        model = Tag
        fields = ("name",)


class TaggedSerializer(serializers.ModelSerializer):
    """Shows the tags of each book, by a serializer of their own, and counts its reviews."""

    tags = TagSerializer(many=True)
    reviews = serializers.SerializerMethodField()

    class Meta:
        """Fields."""

        model = Book
        fields = ("title", "tags", "reviews")

    def get_reviews(self, book):
        """As the API wants it."""
        return book.number if hasattr(book, "number") else book.reviews.count()


CASES["nested serializer"] = Case(
    lambda: TaggedSerializer(Book.objects.annotate(number=Count("reviews")), many=True).data,
    "Book.tags",
    'Book.objects.prefetch_related("tags")',
    lambda books: TaggedSerializer(books.annotate(number=Count("reviews")), many=True).data,
    place=("cases.py", "class TaggedSerializer(serializers.ModelSerializer):"),
)
CASES["method of a serializer"] = Case(
    lambda: TaggedSerializer(Book.objects.prefetch_related("tags"), many=True).data,
    "Book.reviews",
    'Book.objects.annotate(number=Count("reviews"))  # item.number',
    lambda books: TaggedSerializer(books.prefetch_related("tags"), many=True).data,
    place=("cases.py", 'return book.number if hasattr(book, "number") else book.reviews.count()'),
)


def change_list(name):
    """A page of the admin, signed in."""
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.filter(is_superuser=True).first() or User.objects.create_superuser("admin"))
    assert client.get(f"/admin/django_shop/{name}/").status_code == 200


CASES["change list of the admin"] = Case(
    lambda: change_list("book"),
    "Book.author",
    'Book.objects.select_related("author")',
    lambda _: change_list("favourite"),
    place=("models.py", 'return f"by {self.author.name}"'),
)

# -- What is left alone -----------------------------------------------------------------------------------------------
CASES["pages of a paginator"] = Case(lambda: [list(page) for page in Paginator(Book.objects.order_by("pk"), 4)])
CASES["pages of a relation"] = Case(
    lambda: [list(page) for page in Paginator(Category.objects.get(pk=1).children.order_by("pk"), 4)]
)
CASES["refreshed after each write"] = Case(
    lambda: [(tag.save(update_fields=["name"]), tag.refresh_from_db()) for tag in Tag.objects.all()[:4]]
)
CASES["comments on things of several kinds"] = Case(
    lambda: [comment.content_object for comment in Comment.objects.prefetch_related("content_object")]
)
CASES["content types, once per process"] = Case(
    lambda: of_a_new_process(lambda: [pin.target for pin in Pin.objects.filter(number=2000)])
)
CASES["content types of models, once per process"] = Case(
    lambda: of_a_new_process(lambda: [ContentType.objects.get_for_model(model) for model in apps.get_models()])
)
CASES["content types by their names, once per process"] = Case(
    lambda: of_a_new_process(
        lambda: [
            ContentType.objects.get_by_natural_key("django_shop", name) for name in ("book", "tag", "pin", "shelf")
        ]
    )
)
CASES["an iterator"] = Case(lambda: list(Book.objects.iterator(chunk_size=2)))
CASES["one object"] = Case(lambda: Book.objects.first().author.publisher.name)
CASES["a nested prefetch"] = Case(
    lambda: [
        list(book.reviews.all())
        for author in Author.objects.prefetch_related(Prefetch("book_set", Book.objects.prefetch_related("reviews")))
        for book in author.book_set.all()
    ]
)
CASES["a session and its user"] = Case(lambda: change_list("favourite"))
CASES["get_or_create"] = Case(lambda: [Tag.objects.get_or_create(name=f"unheard of {number}") for number in range(3)])
CASES["annotated"] = Case(
    lambda: list(Author.objects.annotate(number=Count("book"), any=Exists(Book.objects.filter(author=OuterRef("pk")))))
)
