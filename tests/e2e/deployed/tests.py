"""What ``manage.py test`` runs."""

import time

from django.test import TestCase, TransactionTestCase

from deployed.models import Order, fill


class OrdersTest(TestCase):
    """In a transaction of its own."""

    @classmethod
    def setUpTestData(cls):
        """Once."""
        fill()

    def test_orders(self):
        """By Django's client; a test may be idle in its transaction."""
        time.sleep(0.3)
        assert len(self.client.get("/orders").json()) == 10

    def test_number_of_queries(self):
        """Django counts what it sends, not what dbsight does."""
        with self.assertNumQueries(11):
            self.client.get("/orders")


class CommittedTest(TransactionTestCase):
    """Committed, and deleted afterwards."""

    def test_orders(self):
        """None is left by the others."""
        assert Order.objects.count() == 0
        fill()
        assert len(self.client.get("/orders").json()) == 10
