"""Pages: each asks the database once for each order, in its own way."""

import asyncio
import time

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.views import View

from deployed import tasks
from deployed.models import Customer, Order

IDLE = 0.3
"""s; longer than the limit of the tests for a transaction."""


def orders(request):
    """Synchronous."""
    names = []
    for order in Order.objects.all():
        names.append(order.customer.name)  # noqa: PERF401 - sync
    return JsonResponse(names, safe=False)


async def orders_async(request):
    """Asynchronous."""
    names = []
    async for order in Order.objects.all():
        customer = await Customer.objects.aget(pk=order.customer_id)  # async
        names.append(customer.name)
    return JsonResponse(names, safe=False)


async def gathered(request):
    """Two queries at once."""
    found = await asyncio.gather(Order.objects.aget(pk=1), Order.objects.aget(pk=2))
    return JsonResponse([order.item for order in found], safe=False)


async def orders_in_thread(request):
    """Asynchronous, with the ORM in a thread."""
    return JsonResponse(await sync_to_async(names_of_all)(), safe=False)


def names_of_all():
    """Of each customer, one by one."""
    return [order.customer.name for order in Order.objects.all()]  # thread


def streamed(request):
    """The rows are asked for while the answer is sent."""
    return StreamingHttpResponse(f"{order.customer.name}\n" for order in Order.objects.all())  # streamed


class Orders(View):
    """A class."""

    def get(self, request):  # class
        """Idle while a transaction is open, where each request is one."""
        Order.objects.filter(pk=1).update(item="book")
        time.sleep(IDLE)
        return HttpResponse("ok")


def plain(request):  # plain
    """The same in a function."""
    return Orders().get(request)


def long(request):
    """Longer than a request should be a transaction."""
    Order.objects.filter(pk=1).update(item="book")
    time.sleep(1)
    return HttpResponse("ok")


def idle(request):
    """Idle in an atomic block."""
    with transaction.atomic():  # atomic
        with transaction.atomic():
            Order.objects.filter(pk=1).update(item="book")
        time.sleep(IDLE)
        transaction.on_commit(lambda: list(Customer.objects.all()))
    return HttpResponse("ok")


@transaction.atomic
def decorated(request):  # decorated
    """Idle in a function that is a transaction."""
    Order.objects.filter(pk=1).update(item="book")
    time.sleep(IDLE)
    return HttpResponse("ok")


def idle_afterwards(request):
    """Slow when the transaction is over."""
    with transaction.atomic():
        Order.objects.filter(pk=1).update(item="book")
        transaction.on_commit(lambda: time.sleep(IDLE))
    return HttpResponse("ok")


def undone(request):
    """A savepoint that is rolled back, in a transaction that is not."""
    with transaction.atomic():
        Order.objects.filter(pk=1).update(item="book")
        try:
            with transaction.atomic():
                Order.objects.create(pk=1, item="twice", customer_id=1)
        except Exception:
            Order.objects.filter(pk=1).update(item="again")
    return HttpResponse("ok")


def send(request):
    """Send a task."""
    tasks.total.delay()
    return HttpResponse("ok")


def quick(request):
    """One query."""
    return HttpResponse(str(Order.objects.count()))


def middleware(following):
    """Ask before the view."""

    def asked(request):
        Customer.objects.count()
        return following(request)

    return asked
