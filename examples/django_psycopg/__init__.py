"""Django REST framework on PostgreSQL: a serializer that asks once for each order.

    pip install dbsight djangorestframework gunicorn 'psycopg[binary]' opentelemetry-instrumentation-django
    export PGHOST=127.0.0.1 PGUSER=postgres PGDATABASE=shop OTEL_SERVICE_NAME=shop
    export DJANGO_SETTINGS_MODULE=django_psycopg.settings
    opentelemetry-instrument gunicorn django_psycopg.site:app --bind 127.0.0.1:8000
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 1 query, nothing found

In Jaeger: service shop, operation "GET orders", tag dbsight.findings.rules. On that span: dbsight.db.calls 26 and the
event dbsight.finding with rule n_plus_one, count 25, the line of site.py that reads order.customer, and the suggestion
Order.objects.select_related("customer"). The queries are the spans SELECT "shop_order" and SELECT "shop_customer".

In Datadog: service shop, resource "GET orders", @dbsight.findings.rules:*n_plus_one*. Queries are spans of type sql.
"""
