# /// script
# dependencies = ["mlflow", "opentelemetry-api"]
# [tool.application]
# about = "MLflow's tracking store: experiments, runs, metrics, and its migrations"
# ///
"""Runs with parameters, metrics and tags, logged one by one and in batches, then searched, in SQLite."""

import json
import logging

logging.disable(logging.CRITICAL)

from mlflow import MlflowClient  # noqa: E402 - it logs while it is imported
from mlflow.entities import Metric, Param, RunTag  # noqa: E402 - as above
from opentelemetry import trace  # noqa: E402 - as above

unit_of_work = trace.get_tracer("tests").start_as_current_span
client = MlflowClient(tracking_uri="sqlite:///mlflow.db")


@unit_of_work("logged")
def logged(experiment):
    """Six runs, each metric by a call of its own."""
    for number in range(6):
        run = client.create_run(experiment, run_name=f"run {number}", start_time=number)
        for step in range(5):
            client.log_metric(run.info.run_id, "loss", number + 1 / (step + 1), step=step, timestamp=step)
        client.log_param(run.info.run_id, "rate", number)
        client.set_terminated(run.info.run_id, end_time=number + 1)


@unit_of_work("logged_in_batches")
def logged_in_batches(experiment):
    """Six runs, each by one call."""
    for number in range(6):
        run = client.create_run(experiment, run_name=f"batch {number}", start_time=10 + number)
        metrics = [Metric("loss", number + step, step, step) for step in range(5)]
        client.log_batch(run.info.run_id, metrics, [Param("rate", str(number))], [RunTag("kind", "batch")])


@unit_of_work("searched")
def searched(experiment):
    """All runs, those of a kind, and a page of them."""
    everything = client.search_runs([experiment], order_by=["attributes.start_time ASC"])
    batches = client.search_runs([experiment], "tags.kind = 'batch'", order_by=["metrics.loss DESC"], max_results=3)
    return [
        [[run.info.run_name, run.data.metrics, run.data.params] for run in everything],
        [run.info.run_name for run in batches],
        len(client.get_metric_history(everything[0].info.run_id, "loss")),
        [found.name for found in client.search_experiments()],
    ]


made = client.create_experiment("tests", artifact_location="artifacts")
logged(made)
logged_in_batches(made)
print(json.dumps(searched(made)))
