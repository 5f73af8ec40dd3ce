"""Two pages a fault."""

from django.urls import path

from dbsight.demo.bookshop.faults import FAULTS

urlpatterns = [
    path(url.lstrip("/"), handler)
    for fault in FAULTS
    for url, handler in ((fault.path, fault.handler), (fault.fixed_path, fault.fixed))
]
