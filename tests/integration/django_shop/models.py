"""Every kind of relation that Django has."""

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models


class Country(models.Model):
    """The end of a path of three."""

    name = models.TextField()


class Publisher(models.Model):
    """Has a country."""

    name = models.TextField()
    country = models.ForeignKey(Country, models.CASCADE)


class Author(models.Model):
    """Has a publisher, a profile, and books without a name for that side."""

    name = models.TextField()
    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="authors")


class Profile(models.Model):
    """Belongs to one author."""

    author = models.OneToOneField(Author, models.CASCADE, related_name="profile")
    text = models.TextField()


class Tag(models.Model):
    """Of many books."""

    name = models.TextField()


class Listed(models.Manager):
    """A manager with a condition of its own."""

    def get_queryset(self):
        """Books that are not hidden."""
        return super().get_queryset().filter(hidden=False)


class Book(models.Model):
    """In the middle of everything."""

    title = models.TextField()
    body = models.TextField(default="")
    hidden = models.BooleanField(default=False)
    author = models.ForeignKey(Author, models.CASCADE)
    editor = models.ForeignKey(Author, models.CASCADE, related_name="edited", null=True)
    tags = models.ManyToManyField(Tag)
    comments = GenericRelation("django_shop.Comment")

    objects = models.Manager()
    listed = Listed()

    def byline(self):
        """Asks for the author."""
        return f"by {self.author.name}"


class Favourite(Book):
    """The same table under another name."""

    class Meta:
        """Without a table."""

        proxy = True


class Novel(Book):
    """A table of its own below that of books."""

    genre = models.TextField()


class Review(models.Model):
    """Of a book, by a named relation."""

    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    stars = models.IntegerField()


class Shelf(models.Model):
    """Of an author; its only manager has another name."""

    owner = models.ForeignKey(Author, models.CASCADE)

    kept = models.Manager()


class Category(models.Model):
    """A tree."""

    name = models.TextField()
    parent = models.ForeignKey("self", models.CASCADE, related_name="children", null=True)


class Comment(models.Model):
    """On anything."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveIntegerField()
    content_object = GenericForeignKey()
    text = models.TextField()


class Pin(models.Model):
    """On anything, even of a class that is no longer there."""

    kind = models.ForeignKey(ContentType, models.DO_NOTHING, db_constraint=False)
    number = models.PositiveIntegerField()
    target = GenericForeignKey("kind", "number")
