# SPDX-License-Identifier: MIT
"""A run as soon as a document can be searched. It takes all that have become so since the last run, from Kafka.

The trigger only wakes: it has a group of its own (the connection kafka_bell), and what it saw is not what is worked on. The operator
takes everything up to the end of the topic, by the position of its group (kafka_documents), which moves when it is done. So an event
that comes while a run is under way, or while Airflow is down, is taken by the next run."""
from airflow.providers.apache.kafka.operators.consume import ConsumeFromTopicOperator
from airflow.providers.apache.kafka.triggers.await_message import AwaitMessageTrigger
from airflow.sdk import DAG, Asset, AssetWatcher, task

bell = AwaitMessageTrigger(topics=["ai.events"], kafka_config_id="kafka_bell", apply_function="taken.embedded",
                           poll_interval=0)     # seconds after each message that is not for us
document = Asset("document_embedded", watchers=[AssetWatcher(name="bell", trigger=bell)])


@task
def register(documents):
    """What is to be done with new documents. An event may come twice: the same document is the same here."""
    known = {(one["app"]["name"], one["document"]["id"]): one["document"].get("name") for one in documents}
    return [{"app": app, "id": ident, "name": name} for (app, ident), name in sorted(known.items())]


with DAG("documents_embedded", schedule=[document], max_active_runs=1):
    take = ConsumeFromTopicOperator(task_id="take", topics=["ai.events"], kafka_config_id="kafka_documents", apply_function="taken.embedded",
                                    return_apply_function_results=True, poll_timeout=5)
    register(take.output)
