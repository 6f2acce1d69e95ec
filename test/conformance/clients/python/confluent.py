"""What a user of confluent-kafka does in a day, told in one line of JSON: see suites/Libraries.ts. BOOTSTRAP TOPIC"""

import json
import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

bootstrap, topic = sys.argv[1:]
common = {"bootstrap.servers": bootstrap}
reading = {**common, "auto.offset.reset": "earliest", "enable.auto.commit": False}
partitions = [TopicPartition(topic, partition) for partition in range(3)]


def results(futures):
    return [future.result(20) for future in futures.values()]


def counted(errors):
    return lambda error, _: errors.append(error)


admin = AdminClient(common)
results(admin.create_topics([NewTopic(topic, 3, 1)]))

errors = []
for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    producer = Producer({**common, "enable.idempotence": True, "compression.type": codec})
    for i in range(1000):
        producer.produce(topic, key=b"key %d" % i, value=b"value %d" % i, on_delivery=counted(errors))
    producer.flush(20)
acked = errors.count(None)

seen = {"acked": acked}
for protocol in ("classic", "consumer"):
    group = f"{protocol}-{topic}"
    consumer = Consumer({**reading, "group.id": group, "group.protocol": protocol})
    consumer.subscribe([topic])
    consumed = 0
    while consumed < acked:
        message = consumer.poll(20)
        if message is None or message.error():
            raise SystemExit(f"{protocol}: {message and message.error()} after {consumed}")
        consumed += 1
    consumer.commit(asynchronous=False)
    committed = sum(partition.offset for partition in consumer.committed(partitions))
    state = results(admin.describe_consumer_groups([group]))[0].state.name
    consumer.close()
    results(admin.delete_consumer_groups([group]))
    seen[protocol] = {"consumed": consumed, "committed": committed, "state": state}

producer = Producer({**common, "transactional.id": f"id-{topic}"})
producer.init_transactions()
for value, end in (
    (b"kept", producer.commit_transaction),
    (b"dropped", producer.abort_transaction),
    # One more behind them: whoever has read it has passed the others.
    (b"last", producer.commit_transaction),
):
    producer.begin_transaction()
    for _ in range(1 if value == b"last" else 10):
        producer.produce(topic, value, partition=0)
    producer.flush()
    end()

reader = Consumer({**reading, "group.id": f"reader-{topic}", "isolation.level": "read_committed"})
reader.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
values = []
while len(values) < acked + 11:
    message = reader.poll(20)
    if message is None or message.error():
        raise SystemExit(f"reader: {message and message.error()} after {len(values)}")
    values.append(message.value())
reader.close()

configs = results(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))[0]
results(admin.delete_topics([topic]))
seen["kept"] = values.count(b"kept")
seen["dropped"] = values.count(b"dropped")
seen["cleanup.policy"] = configs["cleanup.policy"].value
print(json.dumps(seen))
