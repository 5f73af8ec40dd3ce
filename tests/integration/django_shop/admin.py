"""Change lists, with and without what they show joined."""

from django.contrib import admin

from integration.django_shop import models


@admin.register(models.Book)
class BookAdmin(admin.ModelAdmin):
    """Shows the author's name, by a method of the model."""

    list_display = ("title", "byline")


@admin.register(models.Favourite)
class FavouriteAdmin(admin.ModelAdmin):
    """The same, joined."""

    list_display = ("title", "byline")
    list_select_related = ("author",)
