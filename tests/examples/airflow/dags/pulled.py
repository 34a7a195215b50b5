# SPDX-License-Identifier: MIT
"""Takes by plain HTTP what happened since the last run, from a listener of the bridge (a sink of type `websocket`): no Kafka needed.

The bridge remembers under the name of the DAG how far it is. A page is acknowledged by the request for the next one, so what a task that
fails did not finish comes again."""
import collections

import requests
from airflow.sdk import DAG, Connection, task


def pages(url, token, name):
    """Each a list of events; the next one is asked for when this one is done."""
    done = {}
    while True:
        answer = requests.get(f"{url}/events", params={"position": name, "max": 100, **done}, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        answer.raise_for_status()
        page = answer.json()
        if page["lost"]:
            print(f"{page['lost']} events are gone: the log removed them before they were taken")
        if page["events"]:
            yield page["events"]
        if not page["events"] and not page["more"]:
            return
        done = {"ack": page["cursor"]}


@task
def count(dag=None):
    bridge = Connection.get("aqueduct")
    usage = collections.Counter()
    for events in pages(bridge.host, bridge.password, dag.dag_id):
        for event in events:
            if event["type"] == "chat.response.generated":
                data = event["data"]
                app = data["app"]["name"]
                usage[f"{app} answers"] += 1
                usage[f"{app} output_tokens"] += data.get("usage", {}).get("output_tokens", 0)
    return dict(usage)


with DAG("pulled", schedule="@hourly", catchup=False, max_active_runs=1):
    count()
