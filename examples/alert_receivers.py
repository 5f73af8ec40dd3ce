"""Alerts in Slack, in PagerDuty, at a webhook, and by e-mail.

    pip install dbsight sqlalchemy
    export SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…   # any of the four
    export PAGERDUTY_ROUTING_KEY=…
    export WEBHOOK_URL=https://example.com/alerts
    export SMTP_URL=smtp://localhost:25/oncall@example.com
    opentelemetry-instrument python alert_receivers.py

Sends two queries too many that fail, and thereby the alert error_rate to each receiver that is configured. A receiver
runs in a thread of its own: one that is slow or raises delays no query.

In Jaeger: the failed queries. In Logs, of any backend: the event dbsight.alert.
"""

import contextlib
import email.message
import json
import os
import smtplib
import sys
import urllib.parse
import urllib.request

from sqlalchemy import create_engine, exc, text

import dbsight

PAGERDUTY = os.environ.get("PAGERDUTY_URL", "https://events.pagerduty.com/v2/enqueue")


def post(url: str, document: dict) -> None:
    body = json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def to_slack(alert: dbsight.Alert) -> None:
    """An incoming webhook: https://api.slack.com/messaging/webhooks."""
    post(os.environ["SLACK_WEBHOOK_URL"], {"text": f"*{alert.severity.value}* {alert.metric_name}: {alert.message}"})


def to_pagerduty(alert: dbsight.Alert) -> None:
    """Events API v2: an event with a key that is known is added to the incident that is open, or resolves it."""
    event = {
        "routing_key": os.environ["PAGERDUTY_ROUTING_KEY"],
        "event_action": "trigger" if alert.state == "raised" else "resolve",
        "dedup_key": f"dbsight {alert.metric_name} {alert.subject}",
        "payload": {
            "summary": alert.message,
            "severity": alert.severity.value,
            "source": os.environ.get("OTEL_SERVICE_NAME", "dbsight"),
            "custom_details": {"value": alert.current_value, "threshold": alert.threshold_value},
        },
    }
    post(PAGERDUTY, event)


def to_webhook(alert: dbsight.Alert) -> None:
    document = {
        "metric": alert.metric_name,
        "severity": alert.severity.value,
        "message": alert.message,
        "value": alert.current_value,
        "threshold": alert.threshold_value,
    }
    post(os.environ["WEBHOOK_URL"], document)


def by_email(alert: dbsight.Alert) -> None:
    url = urllib.parse.urlsplit(os.environ["SMTP_URL"])
    message = email.message.EmailMessage()
    message["From"], message["To"] = "dbsight@localhost", url.path.lstrip("/")
    message["Subject"] = f"[{alert.severity.value}] {alert.metric_name}"
    message.set_content(alert.message)
    with smtplib.SMTP(url.hostname or "localhost", url.port or 25, "localhost", timeout=10) as server:
        server.send_message(message)


RECEIVERS = {
    "SLACK_WEBHOOK_URL": to_slack,
    "PAGERDUTY_ROUTING_KEY": to_pagerduty,
    "WEBHOOK_URL": to_webhook,
    "SMTP_URL": by_email,
}

monitor = dbsight.create_performance_monitor()
for variable, receiver in RECEIVERS.items():
    if variable in os.environ:
        dbsight.on_alert(receiver, cleared=receiver is to_pagerduty)

engine = create_engine("sqlite://")
with engine.connect() as connection:
    for _ in range(20):
        connection.execute(text("SELECT name FROM sqlite_master")).all()
        with contextlib.suppress(exc.OperationalError):
            connection.execute(text("SELECT name FROM nowhere"))

for alert in monitor.get_alerts():
    print(f"{alert.severity.value}: {alert.message}", file=sys.stderr)
