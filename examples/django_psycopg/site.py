"""Models, pages and application."""
# ruff: noqa: DJ008 - no model is ever printed

import django
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpRequest, JsonResponse
from django.urls import path

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


def list_orders(request: HttpRequest) -> JsonResponse:
    lines = []
    for order in Order.objects.order_by("id"):
        lines.append(f"{order.item} for {order.customer.name}")  # noqa: PERF401 - asks once for each order
    return JsonResponse(lines, safe=False)


def list_orders_fixed(request: HttpRequest) -> JsonResponse:
    orders = Order.objects.select_related("customer").order_by("id")
    return JsonResponse([f"{order.item} for {order.customer.name}" for order in orders], safe=False)


fill()
urlpatterns = [path("orders", list_orders), path("orders/fixed", list_orders_fixed)]
app = get_wsgi_application()
