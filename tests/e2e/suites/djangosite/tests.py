"""Tests of a small Django site, and its views."""

from django.contrib.auth.models import Group, User
from django.http import JsonResponse
from django.test import TestCase
from django.urls import path


def users(request):
    """The fault: groups, user by user."""
    return JsonResponse({user.username: [each.name for each in user.groups.all()] for user in User.objects.all()})


urlpatterns = [path("users/", users)]


class TestUsers(TestCase):
    """Of the view."""

    @classmethod
    def setUpTestData(cls):
        """Eight users."""
        for number in range(8):
            User.objects.create(username=f"user{number}").groups.add(Group.objects.create(name=f"group{number}"))

    def test_users(self):
        """Eight times the groups."""
        assert self.client.get("/users/").status_code == 200
