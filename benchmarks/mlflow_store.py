"""Writes values to MLflow's SQLite tracking store; run by benchmarks/store.py in an environment that has MLflow."""

import importlib
import json
import sys
import time

RUNS, STEPS, METRICS = 10, 40, 25
"""A client may log 1,000 values at once: 40 steps of 25 metrics."""


def main() -> None:
    """Log batches as large as MLflow takes, and print the rate as JSON."""
    # not a dependency of this project, so no name that a type checker should know
    mlflow = importlib.import_module("mlflow")
    metric = importlib.import_module("mlflow.entities").Metric
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{sys.argv[1]}")
    experiment = client.create_experiment("benchmark")
    began = time.perf_counter()
    for _ in range(RUNS):
        run = client.create_run(experiment).info.run_id
        values = [metric(f"m{m}", 0.5 * m, step, step) for step in range(STEPS) for m in range(METRICS)]
        client.log_batch(run, metrics=values)
    rate = RUNS * STEPS * METRICS / (time.perf_counter() - began)
    print(json.dumps({"version": mlflow.__version__, "rate": rate, "batch": STEPS * METRICS}))


if __name__ == "__main__":
    main()
