# SPDX-License-Identifier: MIT
"""A run for each answer: a webhook sink with `for: airflow` starts it. The whole event is in the run's conf."""
from airflow.sdk import DAG, task


@task
def judge(dag_run=None):
    """What is to be done with an answer."""
    event = dag_run.conf
    data = event["data"]
    return {"id": event["id"], "app": data["app"]["name"], "model": data.get("model", {}).get("name", "?"),
            "output_tokens": data.get("usage", {}).get("output_tokens")}


with DAG("answered", schedule=None):
    judge()
