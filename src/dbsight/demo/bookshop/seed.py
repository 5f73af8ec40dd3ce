"""The rows of the bookshop: the same in each run."""

from __future__ import annotations

from django.apps import apps
from django.db import connection

from dbsight.demo.bookshop.models import Author, Book, Tag

AUTHORS = 20
BOOKS = 60
TAGS = 8


def fill() -> None:
    """Create tables and rows in an empty database."""
    with connection.schema_editor() as editor:
        for model in apps.get_app_config("bookshop").get_models():
            editor.create_model(model)
    authors = Author.objects.bulk_create(Author(name=f"author {n}") for n in range(AUTHORS))
    tags = Tag.objects.bulk_create(Tag(name=f"tag {n}") for n in range(TAGS))
    books = Book.objects.bulk_create(Book(title=f"book {n}", author=authors[n % AUTHORS]) for n in range(BOOKS))
    tagged = Book.tags.through
    tagged.objects.bulk_create(
        tagged(book=book, tag=tags[(number + more) % TAGS]) for number, book in enumerate(books) for more in (0, 3)
    )
    connection.close()
