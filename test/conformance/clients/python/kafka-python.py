"""What a user of kafka-python does in a day, told in one line of JSON: see suites/Libraries.ts. BOOTSTRAP TOPIC"""

import json
import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

bootstrap, topic = sys.argv[1:]
group = f"group-{topic}"
common = {"bootstrap_servers": bootstrap}
admin = KafkaAdminClient(**common)
admin.create_topics([NewTopic(topic, 3, 1)])

acked = 0
for codec in (None, "gzip", "snappy", "lz4", "zstd"):
    producer = KafkaProducer(**common, compression_type=codec, linger_ms=20, acks="all", enable_idempotence=True)
    sent = [
        producer.send(topic, key=b"key %d" % i, value=b"value %d" % i, headers=[("codec", str(codec).encode())])
        for i in range(1000)
    ]
    producer.flush()
    acked += len([future.get(20) for future in sent])
    producer.close()

reading = {**common, "auto_offset_reset": "earliest", "enable_auto_commit": False, "consumer_timeout_ms": 20_000}
consumer = KafkaConsumer(topic, group_id=group, **reading)
consumed = 0
for record in consumer:
    consumed += 1
    if consumed == acked:
        break
consumer.commit()
consumer.close()
offsets = admin.list_group_offsets(group)[group]
state = admin.describe_groups([group])[group]["group_state"]

producer = KafkaProducer(**common, transactional_id=f"id-{topic}")
producer.init_transactions()
for value, end in ((b"kept", producer.commit_transaction), (b"dropped", producer.abort_transaction)):
    producer.begin_transaction()
    for _ in range(10):
        producer.send(topic, value, partition=0)
    producer.flush()
    end()
# One more behind them: whoever has read it has passed the others.
producer.begin_transaction()
producer.send(topic, b"last", partition=0)
producer.commit_transaction()
producer.close()

values = []
for record in KafkaConsumer(topic, isolation_level="read_committed", **reading):
    values.append(record.value)
    if len(values) == acked + 11:
        break

admin.delete_groups([group])
admin.delete_topics([topic])
print(
    json.dumps(
        {
            "acked": acked,
            "consumed": consumed,
            "committed": sum(offset.offset for offset in offsets.values()),
            "state": state,
            "kept": values.count(b"kept"),
            "dropped": values.count(b"dropped"),
        }
    )
)
