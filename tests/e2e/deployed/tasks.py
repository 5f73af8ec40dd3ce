"""Celery, with Django's fix-up."""

import os

try:
    from celery import Celery, shared_task
except ImportError:  # not every environment has it

    def shared_task(function):
        """As it is."""
        return function

else:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deployed.settings")
    app = Celery("deployed")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()


@shared_task
def total():
    """Ask once for each order."""
    from deployed.models import Order

    return [order.customer.name for order in Order.objects.all()]  # task
