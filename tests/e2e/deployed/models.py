"""Orders and who placed them."""

from django.db import models


class Customer(models.Model):
    """Who buys."""

    name = models.TextField()


class Order(models.Model):
    """What was bought."""

    item = models.TextField()
    customer = models.ForeignKey(Customer, models.CASCADE)


def fill():
    """Ten orders of ten customers."""
    customers = Customer.objects.bulk_create(Customer(name=f"customer {n}") for n in range(10))
    Order.objects.bulk_create(Order(item=f"book {n}", customer=each) for n, each in enumerate(customers))
