# SPDX-License-Identifier: MIT
"""Stores each record of a topic once more, as it is: what is delivered at least once may come twice. `repeat.py SERVERS TOPIC`"""
import sys

from confluent_kafka import Consumer, Producer, TopicPartition


def main(servers, topic):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "repeat", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": servers})
    for partition in consumer.list_topics(topic).topics[topic].partitions:
        first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition))
        consumer.assign([TopicPartition(topic, partition, first)])
        while first < end:
            record = consumer.poll(10)
            producer.produce(topic, partition=partition, key=record.key(), value=record.value(), headers=record.headers(),
                             timestamp=record.timestamp()[1])
            first = record.offset() + 1
    producer.flush()
    consumer.close()


main(*sys.argv[1:])
