"""The pages of the bookshop: each with a fault, and its twin without, which answers the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, F
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render

from dbsight.demo.bookshop.models import Author, Book, Sale

if TYPE_CHECKING:
    from django.http import HttpRequest

ORDERED = 40
"""Sales of one import."""

PAYMENT = 0.6
"""s that another service takes to answer."""


def list_books(request: HttpRequest) -> HttpResponse:
    """Each book with its author."""
    books = Book.objects.order_by("pk")
    return JsonResponse([f"{book.title} by {book.author.name}" for book in books], safe=False)


def list_books_fixed(request: HttpRequest) -> HttpResponse:
    """Each book with its author."""
    books = Book.objects.select_related("author").order_by("pk")
    return JsonResponse([f"{book.title} by {book.author.name}" for book in books], safe=False)


def show_shelf(request: HttpRequest) -> HttpResponse:
    """Each book with its tags, as a page."""
    return render(request, "shelf.html", {"books": Book.objects.order_by("pk")})


def show_shelf_fixed(request: HttpRequest) -> HttpResponse:
    """Each book with its tags, as a page."""
    return render(request, "shelf.html", {"books": Book.objects.prefetch_related("tags").order_by("pk")})


def list_authors(request: HttpRequest) -> HttpResponse:
    """How many books each author has."""
    authors = Author.objects.order_by("pk")
    return JsonResponse([f"{author.name}: {author.books.count()}" for author in authors], safe=False)


def list_authors_fixed(request: HttpRequest) -> HttpResponse:
    """How many books each author has."""
    authors = Author.objects.annotate(number=Count("books")).order_by("pk")
    return JsonResponse([f"{author.name}: {author.number}" for author in authors], safe=False)


def import_sales(request: HttpRequest) -> HttpResponse:
    """Write down what was sold elsewhere."""
    with transaction.atomic():
        for number in range(1, ORDERED + 1):
            Sale(book_id=number, copies=1).save()
    return HttpResponse(f"{ORDERED} sales")


def import_sales_fixed(request: HttpRequest) -> HttpResponse:
    """Write down what was sold elsewhere."""
    with transaction.atomic():
        Sale.objects.bulk_create([Sale(book_id=number, copies=1) for number in range(1, ORDERED + 1)])
    return HttpResponse(f"{ORDERED} sales")


def sell(request: HttpRequest) -> HttpResponse:
    """Sell a book, which somebody pays for."""
    with transaction.atomic():
        Book.objects.filter(pk=1).update(stock=F("stock") - 1)
        time.sleep(PAYMENT)
    return HttpResponse("sold")


def sell_fixed(request: HttpRequest) -> HttpResponse:
    """Sell a book, which somebody pays for."""
    time.sleep(PAYMENT)
    with transaction.atomic():
        Book.objects.filter(pk=1).update(stock=F("stock") - 1)
    return HttpResponse("sold")
