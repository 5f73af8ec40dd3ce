# /// script
# dependencies = ["optuna", "opentelemetry-api"]
# [tool.application]
# about = "hyperparameter search, its trials in SQL (RDBStorage)"
# ci = true
# ///
"""A study with its trials in SQLite: sampled, reported, pruned, imported in a batch, and read again."""

import json

import optuna
from opentelemetry import trace

optuna.logging.set_verbosity(optuna.logging.ERROR)
unit_of_work = trace.get_tracer("tests").start_as_current_span
storage = optuna.storages.RDBStorage("sqlite:///study.db")


def objective(trial):
    """A parabola."""
    x = trial.suggest_float("x", -10, 10)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    for step in range(3):
        trial.report(x * x + step, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("kind", kind)
    return x * x


@unit_of_work("search")
def search():
    """Twelve trials."""
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(study_name="parabola", storage=storage, sampler=sampler, direction="minimize")
    study.set_user_attr("owner", "tests")
    study.optimize(objective, n_trials=12)
    return study


@unit_of_work("imported")
def imported(trials):
    """All of them in another study, by the method that takes many."""
    optuna.create_study(study_name="imported", storage=storage).add_trials(trials)


@unit_of_work("read")
def read():
    """The other study by a storage of its own, and a summary of all."""
    again = optuna.load_study(study_name="imported", storage=optuna.storages.RDBStorage("sqlite:///study.db"))
    return {
        "best": round(again.best_value, 6),
        "states": sorted(trial.state.name for trial in again.trials),
        "studies": sorted(summary.study_name for summary in optuna.get_all_study_summaries(storage)),
    }


imported(search().trials)
print(json.dumps(read()))
