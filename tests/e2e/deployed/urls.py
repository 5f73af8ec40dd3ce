"""The pages."""

from django.urls import path

from deployed import views

urlpatterns = [
    path("orders", views.orders),
    path("async", views.orders_async),
    path("gathered", views.gathered),
    path("thread", views.orders_in_thread),
    path("streamed", views.streamed),
    path("class", views.Orders.as_view()),
    path("plain", views.plain),
    path("long", views.long),
    path("idle", views.idle),
    path("decorated", views.decorated),
    path("afterwards", views.idle_afterwards),
    path("undone", views.undone),
    path("send", views.send),
    path("quick", views.quick),
]
