"""A member of a group by confluent-kafka (librdkafka) that prints `partition offset value` a line before it commits, until
SIGTERM: see suites/GroupClients.ts. BOOTSTRAP TOPIC GROUP PROTOCOL"""

import signal
import sys

from confluent_kafka import Consumer, KafkaException

bootstrap, topic, group, protocol = sys.argv[1:]
settings = {
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "group.protocol": protocol,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
}
if protocol == "classic":
    # Of the other protocol's members the broker knows the times.
    settings |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}

leaving = []
signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
consumer = Consumer(settings)
consumer.subscribe([topic])
while not leaving:
    messages = [message for message in consumer.consume(500, 0.2) if not message.error()]
    if not messages:
        continue
    for message in messages:
        print(message.partition(), message.offset(), message.value().decode())
    sys.stdout.flush()
    try:
        consumer.commit(asynchronous=False)
    except KafkaException:
        # Its partitions are another's by now, or nothing is left to commit: whoever has them reads on from the last commit.
        pass
consumer.close()
