"""Every fault of the bookshop, and what a report must say about it; Django must be set up before it is imported."""

from __future__ import annotations

from pathlib import Path

from dbsight.demo.bookshop import views
from dbsight.demo.bookshop.seed import AUTHORS, BOOKS
from dbsight.demo.fault import Expected, Fault

TEMPLATE = Path(__file__).parent / "templates" / "shelf.html"

FAULTS: tuple[Fault, ...] = (
    Fault(
        name="foreign key",
        path="/books",
        handler=views.list_books,
        fixed=views.list_books_fixed,
        statements=BOOKS + 1,
        fixed_statements=1,
        expected=(
            Expected(
                "n_plus_one",
                views.list_books,
                "book.author.name",
                BOOKS,
                "Book.author",
                'Book.objects.select_related("author")',
            ),
        ),
        explanation="Each book loads its author by itself; select_related() brings them along.",
    ),
    Fault(
        name="template",
        path="/shelf",
        handler=views.show_shelf,
        fixed=views.show_shelf_fixed,
        statements=BOOKS + 1,
        fixed_statements=2,
        expected=(
            Expected(
                "n_plus_one",
                TEMPLATE,
                "book.tags.all",
                BOOKS,
                "Book.tags",
                'Book.objects.prefetch_related("tags")',
            ),
        ),
        explanation="A loop of a template loads the tags of each book; prefetch_related() loads those of all.",
    ),
    Fault(
        name="count",
        path="/authors",
        handler=views.list_authors,
        fixed=views.list_authors_fixed,
        statements=AUTHORS + 1,
        fixed_statements=1,
        expected=(
            Expected(
                "n_plus_one",
                views.list_authors,
                "author.books.count()",
                AUTHORS,
                "Author.books",
                'Author.objects.annotate(number=Count("books"))  # item.number',
            ),
        ),
        explanation="The books of each author are counted by a query of their own; annotate() counts all in one.",
    ),
    Fault(
        name="row by row",
        path="/sales",
        handler=views.import_sales,
        fixed=views.import_sales_fixed,
        statements=views.ORDERED + 1,
        fixed_statements=2,
        expected=(
            Expected(
                "row_by_row_write",
                views.import_sales,
                ".save()",
                views.ORDERED,
                fix="Sale.objects.bulk_create(objects, batch_size=500)",
            ),
        ),
        explanation="Each sale is one INSERT; bulk_create() writes all by one.",
        method="POST",
    ),
    Fault(
        name="long transaction",
        path="/sell",
        handler=views.sell,
        fixed=views.sell_fixed,
        statements=2,
        fixed_statements=2,
        expected=(
            Expected(
                "long_transaction",
                views.sell,
                "transaction.atomic()",
                fix="with transaction.atomic():  # after the slow work, only around the statements",
            ),
        ),
        explanation="The book stays locked while a payment service answers; asked before, it keeps nobody waiting.",
        method="POST",
    ),
)
"""In the order in which they are requested."""
