"""Books, who wrote them, what they are about, and sales."""
# mypy: disable-error-code=misc
# ruff: noqa: DJ008 - no model is ever printed

from django.db import models


class Author(models.Model):
    """Who writes."""

    name = models.TextField()


class Tag(models.Model):
    """What a book is about."""

    name = models.TextField()


class Book(models.Model):
    """What is sold."""

    title = models.TextField()
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    tags = models.ManyToManyField(Tag)
    stock = models.IntegerField(default=10)


class Sale(models.Model):
    """What was sold."""

    book = models.ForeignKey(Book, models.CASCADE)
    copies = models.IntegerField()
