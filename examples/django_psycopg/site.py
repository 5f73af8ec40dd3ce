"""Models, pages and application."""
# ruff: noqa: DJ008 - no model is ever printed

import django
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.urls import path
from rest_framework import generics, serializers

django.setup()


class Customer(models.Model):
    """Who buys."""

    name = models.TextField()

    class Meta:
        """Where it is kept."""

        app_label = "shop"


class Order(models.Model):
    """What was bought."""

    item = models.TextField()
    customer = models.ForeignKey(Customer, models.CASCADE)

    class Meta:
        """Where it is kept."""

        app_label = "shop"


def fill() -> None:
    if Customer._meta.db_table in connection.introspection.table_names():
        return
    with connection.schema_editor() as editor:
        editor.create_model(Customer)
        editor.create_model(Order)
    customers = Customer.objects.bulk_create(Customer(name=f"customer {n}") for n in range(1, 26))
    Order.objects.bulk_create(Order(item=f"book {n}", customer=each) for n, each in enumerate(customers, 1))


class OrderSerializer(serializers.BaseSerializer):
    """One line for each order."""

    def to_representation(self, order: Order) -> str:
        """As text."""
        return f"{order.item} for {order.customer.name}"  # asks once for each order


class OrderList(generics.ListAPIView):
    """All of them."""

    queryset = Order.objects.order_by("id")
    serializer_class = OrderSerializer


class OrderListFixed(OrderList):
    """With their customers."""

    queryset = Order.objects.select_related("customer").order_by("id")


fill()
urlpatterns = [path("orders", OrderList.as_view()), path("orders/fixed", OrderListFixed.as_view())]
app = get_wsgi_application()
