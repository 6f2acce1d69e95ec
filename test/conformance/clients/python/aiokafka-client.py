"""What a user of aiokafka does in a day, told in one line of JSON: see suites/Libraries.ts. BOOTSTRAP TOPIC"""

import asyncio
import json
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

bootstrap, topic = sys.argv[1:]
group = f"group-{topic}"
common = {"bootstrap_servers": bootstrap}
reading = {**common, "auto_offset_reset": "earliest", "enable_auto_commit": False}


class Dropped(Exception):
    """Thrown in a transaction: its context manager aborts it."""


async def produce() -> int:
    acked = 0
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        async with AIOKafkaProducer(
            **common, compression_type=codec, linger_ms=10, enable_idempotence=True
        ) as producer:
            sent = [
                await producer.send(topic, key=b"key %d" % i, value=b"value %d" % i, headers=[("n", b"%d" % i)])
                for i in range(1000)
            ]
            acked += len(await asyncio.gather(*sent))
    return acked


async def consume(count: int) -> int:
    """Two members share the partitions."""
    members = [AIOKafkaConsumer(topic, group_id=group, **reading) for _ in range(2)]
    for member in members:
        await member.start()
    consumed = 0
    while consumed < count:
        for member in members:
            records = await member.getmany(timeout_ms=200)
            consumed += sum(map(len, records.values()))
            if records:
                await member.commit()
    for member in members:
        await member.stop()
    return consumed


async def transact() -> None:
    async with AIOKafkaProducer(**common, transactional_id=f"id-{topic}") as producer:
        async with producer.transaction():
            for _ in range(10):
                await producer.send(topic, b"kept", partition=0)
            # Offsets of a group of its own, which the transaction commits with the records.
            await producer.send_offsets_to_transaction({TopicPartition(topic, 0): 7}, f"{group}-copied")
        try:
            async with producer.transaction():
                for _ in range(10):
                    await producer.send_and_wait(topic, b"dropped", partition=0)
                raise Dropped
        except Dropped:
            pass
        # One more behind them: whoever has read it has passed the others.
        async with producer.transaction():
            await producer.send(topic, b"last", partition=0)


async def main() -> None:
    admin = AIOKafkaAdminClient(**common)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    acked = await produce()
    consumed = await consume(acked)
    offsets = await admin.list_consumer_group_offsets(group)
    description = (await admin.describe_consumer_groups([group]))[0].groups[0]
    await transact()
    copied = await admin.list_consumer_group_offsets(f"{group}-copied")
    values = []
    async with AIOKafkaConsumer(topic, isolation_level="read_committed", **reading) as reader:
        while len(values) < acked + 11:
            for records in (await reader.getmany(timeout_ms=500)).values():
                values += [record.value for record in records]
    await admin.delete_topics([topic])
    await admin.close()
    print(
        json.dumps(
            {
                "acked": acked,
                "consumed": consumed,
                "committed": sum(offset.offset for offset in offsets.values()),
                "state": description[2],
                "kept": values.count(b"kept"),
                "dropped": values.count(b"dropped"),
                "copied": [offset.offset for offset in copied.values()],
            }
        )
    )


asyncio.run(main())
