"""gunicorn with two workers that are forked from a loaded application: its configuration, for flask_pymysql.py.

    pip install dbsight gunicorn flask sqlalchemy pymysql opentelemetry-instrumentation-flask
    export DATABASE_URL=mysql+pymysql://root@127.0.0.1:3306/shop OTEL_SERVICE_NAME=shop
    opentelemetry-instrument gunicorn -c gunicorn_prefork.py --bind 127.0.0.1:8000 flask_pymysql:app
    curl http://127.0.0.1:8000/orders         # 1 + 25 queries
    curl http://127.0.0.1:8000/orders/fixed   # 1 query, nothing found

In Jaeger: as for flask_pymysql.py, operation "GET /orders", whichever worker answered. Exporter and state of dbsight
begin anew in each worker by themselves; nothing has to be written into post_fork for them.

In Datadog: service shop, resource "GET /orders", @dbsight.findings.rules:*n_plus_one*.
"""

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

workers = 2
preload_app = True


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Two processes must not speak on one connection: leave those of the parent to it."""
    from flask_pymysql import engine

    engine.dispose(close=False)
