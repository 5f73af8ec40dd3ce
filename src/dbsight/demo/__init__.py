"""The shop: a small real web application with every fault in it, each beside its fixed twin.

FastAPI under uvicorn on loopback, SQLAlchemy's ORM, any database that SQLAlchemy reaches. ``python -m dbsight.demo``
starts it, requests every fault and its twin over HTTP, and prints what they took; put ``opentelemetry-instrument`` in
front, and dbsight tells at exit what is wrong with it. ``dbsight.demo.faults`` lists what it should tell.

``make demo`` sets limits low enough for a demonstration that lasts seconds:

=========================================== ============
``OTEL_SERVICE_NAME``                        shop
``OTEL_DBSIGHT_PRESET``                      development
``OTEL_DBSIGHT_SLOW_QUERY_THRESHOLD``        0.05
``OTEL_DBSIGHT_VERY_SLOW_QUERY_THRESHOLD``   0.25
``OTEL_DBSIGHT_CONNECTION_LEAK_AFTER``       1
``OTEL_DBSIGHT_LONG_TRANSACTION_THRESHOLD``  0.5
``OTEL_DBSIGHT_BLOCKED_LOOP_THRESHOLD``      0.005
=========================================== ============

The application knows nothing of dbsight: nothing here imports it.
"""
