/**
 * Produce and InitProducerId: behaviours #20 to #27, the "Produce" rows of §6.
 */
import { gunzipSync } from "node:zlib";
import { type BatchOptions, batch, crc32c, storedBatches, values } from "../support/Batch.ts";
import { deviations, expectedOf } from "../support/Deviations.ts";
import {
  connected,
  createdTopic,
  fetchRecords,
  initProducerId,
  listOffsets,
  produce,
  produceBody,
} from "../support/Requests.ts";
import { assert, type ConformanceTest, type Context, equal, type Suite } from "../support/Suite.ts";
import { type Expected, like, matches, numberAt, textAt } from "../support/Tree.ts";

const refused = (
  name: string,
  code: number,
  bytes: () => Uint8Array,
  more: Record<string, Expected> = {},
): ConformanceTest => ({
  name: `${name} is ${code} and nothing is written`,
  async run(context: Context) {
    const { wire, name: topic } = await createdTopic(context);
    matches(
      await produce(wire, topic, bytes()),
      { errorCode: code, baseOffset: -1, logAppendTimeMs: -1, ...more },
      "answer",
    );
    matches(await listOffsets(wire, topic, -1), { offset: 0 }, "log end");
    matches(await produce(wire, topic, batch()), { errorCode: 0, baseOffset: 0 }, "a good batch afterwards");
  },
});

const plain = { recordErrors: [], errorMessage: null };

/** A batch of exactly `size` bytes. */
const sizedBatch = (size: number): Buffer => {
  let length = size - 61 - 20;
  for (let attempt = 0; attempt < 8; attempt++) {
    const bytes = batch({ records: [{ value: "x".repeat(length) }] });
    if (bytes.length === size) return bytes;
    length += size - bytes.length;
  }
  throw new Error(`no batch of ${size} bytes`);
};

const idempotent = (producerId: number, producerEpoch: number, sequence: number, more: BatchOptions = {}): Buffer =>
  batch({ producerId, producerEpoch, sequence, ...more });

export const suite: Suite = {
  name: "produce",
  tests: [
    {
      name: "every version 3-13 is answered with the base offset",
      async run(context) {
        const { wire, name, id } = await createdTopic(context);
        for (let version = 3; version <= 13; version++) {
          const answer = await produce(wire, version >= 13 ? id : name, batch({ records: values("a", "b") }), {
            version,
          });
          matches(answer, { errorCode: 0, baseOffset: (version - 3) * 2, logAppendTimeMs: -1 }, `v${version}`);
          if (version >= 5) matches(answer, { logStartOffset: 0 }, `v${version}`);
          if (version >= 8) matches(answer, plain, `v${version}`);
        }
      },
    },
    {
      name: "#20 only base offset and leader epoch are rewritten",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        await produce(wire, name, batch());
        const sent = batch({ records: [{ key: "k", value: "v", headers: { h: "1" } }, { value: null }] });
        await produce(wire, name, sent);
        const [stored] = storedBatches(await fetchRecords(wire, name, 1));
        assert(stored !== undefined, "a batch");
        equal([stored.baseOffset, stored.lastOffset, stored.leaderEpoch, stored.crcGood], [1, 2, 0, true], "header");
        equal(stored.bytes.subarray(16).equals(sent.subarray(16)), true, "everything from the magic on is as sent");
      },
    },
    {
      name: "#20 LogAppendTime sets bit 3 and maxTimestamp with a new CRC and is answered",
      async run(context) {
        const { wire, name } = await createdTopic(context, 1, { "message.timestamp.type": "LogAppendTime" });
        const old = Date.now() - 1_000_000;
        const sent = batch({ records: [{ value: "v", timestamp: old }] });
        const answer = await produce(wire, name, sent);
        const time = numberAt(answer, "logAppendTimeMs");
        assert(Math.abs(time - Date.now()) < 10_000, `log append time ${time}`);
        const [stored] = storedBatches(await fetchRecords(wire, name, 0));
        assert(stored !== undefined, "a batch");
        equal(
          [stored.attributes & 8, stored.maxTimestamp, stored.firstTimestamp, stored.crcGood],
          [8, time, old, true],
          "stored",
        );
      },
    },
    {
      name: "#20 a wrong maxTimestamp, or bit 3 on a CreateTime topic, is stored corrected",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const time = Date.now() - 5000;
        const records = [{ value: "v", timestamp: time }];
        matches(
          await produce(wire, name, batch({ records, maxTimestamp: time + 77 })),
          { errorCode: 0 },
          "wrong maximum",
        );
        matches(
          await produce(wire, name, batch({ records, attributes: 8 })),
          { errorCode: 0, logAppendTimeMs: -1 },
          "bit 3",
        );
        const stored = storedBatches(await fetchRecords(wire, name, 0));
        equal(
          stored.map((each) => [each.maxTimestamp, each.attributes, each.crcGood]),
          [
            [time, 0, true],
            [time, 0, true],
          ],
          "stored",
        );
      },
    },
    {
      name: "#21 unknown topic, bad name, unknown partition and -1 are 3; v13 unknown and zero id are 100; nothing is created",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        for (const [topic, partition] of [
          ["no-such-topic", 0],
          ["bad name", 0],
          [name, 1],
          [name, -1],
          [name, 1000],
        ] as const) {
          matches(
            await produce(wire, topic, batch(), { partition }),
            { errorCode: 3, baseOffset: -1, logStartOffset: -1 },
            `${topic} ${partition}`,
          );
        }
        const unknown = Buffer.from("0123456789ab4def8123456789abcdef", "hex").toString("base64url");
        for (const id of [unknown, "AAAAAAAAAAAAAAAAAAAAAA"]) {
          matches(await produce(wire, id, batch(), { version: 13 }), { errorCode: 100 }, id);
        }
        const answer = await wire.call("Metadata", 9, {
          topics: [{ name: "no-such-topic" }],
          allowAutoTopicCreation: false,
        });
        matches(answer, { topics: [{ errorCode: 3 }] }, "not created");
      },
    },
    {
      name: "#21 acks 2, -2 and 127 are 21 per partition",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        for (const acks of [2, -2, 127])
          matches(await produce(wire, name, batch(), { acks }), { errorCode: 21 }, `acks ${acks}`);
        matches(await listOffsets(wire, name, -1), { offset: 0 }, "log end");
      },
    },
    refused("#21 a bad CRC", 2, () => batch({ crcError: 1 }), { errorMessage: null }),
    refused("#21 two batches", 87, () => Buffer.concat([batch(), batch()]), plain),
    refused("#21 no bytes", 87, () => Buffer.alloc(0), plain),
    refused("#21 a cut batch", 87, () => batch().subarray(0, 65), plain),
    refused("#21 a cut header", 87, () => batch().subarray(0, 40), plain),
    refused("#21 no records", 87, () => batch({ records: [], payload: Buffer.alloc(0), lastOffsetDelta: -1 }), plain),
    refused("#21 a count above the records", 87, () => batch({ count: 2, lastOffsetDelta: 1 }), plain),
    refused(
      "#21 a count below the records",
      87,
      () => batch({ records: values("a", "b"), count: 1, lastOffsetDelta: 0 }),
      plain,
    ),
    refused(
      "#21 a count that is not the offsets",
      87,
      () => batch({ records: values("a", "b"), lastOffsetDelta: 7 }),
      plain,
    ),
    refused("#21 a base offset of 100", 87, () => batch({ baseOffset: 100 }), plain),
    refused("#21 a control batch from a client", 87, () => batch({ attributes: 0x20 }), plain),
    refused(
      "#21 a producer id with sequence -1",
      87,
      () => batch({ producerId: 1000, producerEpoch: 0, sequence: -1 }),
      plain,
    ),
    refused("#21 magic 0", 87, () => batch({ magic: 0 })),
    refused("#21 magic 1", 87, () => batch({ magic: 1 })),
    ...[3, -1].map((magic) => ({
      name: `#21 magic ${magic} is 2 for the whole request`,
      async run(context: Context) {
        const { wire, name } = await createdTopic(context, 2);
        const answer = await wire.call("Produce", 9, {
          acks: -1,
          timeoutMs: 5000,
          topicData: [
            {
              name,
              partitionData: [
                { index: 0, records: batch() },
                { index: 1, records: batch({ magic }) },
              ],
            },
          ],
        });
        matches(answer, { responses: [{ partitionResponses: [{ errorCode: 2 }, { errorCode: 2 }] }] }, "answer");
        matches(await listOffsets(wire, name, -1), { offset: 0 }, "the good one is not written");
      },
    })),
    {
      name: "#21 garbage bytes are refused, nothing written",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const garbage = Buffer.alloc(200, 0xa7);
        garbage[16] = 2;
        const code = numberAt(await produce(wire, name, garbage), "errorCode");
        assert([87, 2].includes(code), `code ${code}`);
        matches(await listOffsets(wire, name, -1), { offset: 0 }, "log end");
      },
    },
    {
      name: "#21 bytes after the one batch, too short to be a batch, are dropped",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(
          await produce(wire, name, Buffer.concat([batch(), Buffer.from([1, 2, 3, 4, 5])])),
          { errorCode: 0 },
          "answer",
        );
        matches(await produce(wire, name, batch()), { errorCode: 0, baseOffset: 1 }, "the next one");
        equal(storedBatches(await fetchRecords(wire, name, 0)).length, 2, "batches");
      },
    },
    {
      name: "#21 zstd in v6 is 76, in v7 it is looked at",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const bytes = batch({ attributes: 4, payload: Buffer.from("28b52ffd0000", "hex") });
        matches(await produce(wire, name, bytes, { version: 6 }), { errorCode: 76 }, "v6");
        const v7 = numberAt(await produce(wire, name, bytes, { version: 7 }), "errorCode");
        assert(v7 !== 76 && v7 !== 0, `v7 says ${v7}`);
      },
    },
    {
      name: "#21 codec bits 5 are refused",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(
          await produce(wire, name, batch({ attributes: 5 })),
          { errorCode: expectedOf(context.kind, deviations.codec5) },
          "answer",
        );
        matches(await listOffsets(wire, name, -1), { offset: 0 }, "log end");
      },
    },
    {
      name: "#21 gzip bytes that are not gzip are refused",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(
          await produce(wire, name, batch({ attributes: 1, payload: Buffer.from("not gzip at all") })),
          { errorCode: expectedOf(context.kind, deviations.badGzip) },
          "answer",
        );
        matches(await listOffsets(wire, name, -1), { offset: 0 }, "log end");
      },
    },
    {
      name: "#21 records null is refused",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const sent = await wire.send("Produce", 9, produceBody(name, null));
        const frame = await wire.read(2000);
        if (context.kind === "kafka") equal(frame, expectedOf("kafka", deviations.nullRecords), "Kafka");
        else {
          assert(typeof frame !== "string", `${String(frame)}, an answer expected`);
          const { decodeAnswer } = await import("../support/Wire.ts");
          matches(
            await decodeAnswer(sent, frame),
            { responses: [{ partitionResponses: [{ errorCode: 87 }] }] },
            "answer",
          );
        }
      },
    },
    {
      name: "#21 a compressed batch is stored as it was sent",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const sent = batch({ records: values("a".repeat(500), "b".repeat(500)), gzip: true });
        matches(await produce(wire, name, sent), { errorCode: 0, baseOffset: 0 }, "answer");
        const [stored] = storedBatches(await fetchRecords(wire, name, 0));
        assert(stored?.bytes.subarray(16).equals(sent.subarray(16)) === true, "the bytes");
        assert(gunzipSync(stored.bytes.subarray(61)).length > 1000, "gzip");
      },
    },
    {
      name: "#22 a null key on a compacted topic is 87 with RecordErrors, in v7 87 only",
      async run(context) {
        const { wire, name } = await createdTopic(context, 1, { "cleanup.policy": "compact" });
        const records = [{ key: "k", value: "0" }, { value: "1" }, { value: "2" }];
        const message = `Compacted topic cannot accept message without key in topic partition ${name}-0`;
        const answer = await produce(wire, name, batch({ records }));
        matches(
          answer,
          {
            errorCode: 87,
            recordErrors: [1, 2].map((batchIndex) => ({ batchIndex, batchIndexErrorMessage: message })),
            errorMessage:
              "One or more records have been rejected due to 2 record errors in total, and only showing the first three errors at most: [RecordError(batchIndex=1, message='X'), RecordError(batchIndex=2, message='X')]".replaceAll(
                "X",
                message,
              ),
          },
          "v9",
        );
        matches(await produce(wire, name, batch({ records }), { version: 7 }), { errorCode: 87 }, "v7");
        matches(
          await produce(wire, name, batch({ records: [{ key: "k", value: null }] })),
          { errorCode: 0, baseOffset: 0 },
          "a tombstone",
        );
      },
    },
    {
      name: "#23 1,048,588 bytes pass, one more is 10",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(
          await produce(wire, name, sizedBatch(1_048_589)),
          { errorCode: 10, errorMessage: null, recordErrors: [] },
          "one more",
        );
        matches(await produce(wire, name, sizedBatch(1_048_588)), { errorCode: 0, baseOffset: 0 }, "equal");
      },
    },
    {
      name: "#23 the topic's max.message.bytes counts",
      async run(context) {
        const { wire, name } = await createdTopic(context, 1, { "max.message.bytes": "2000" });
        matches(await produce(wire, name, sizedBatch(2001)), { errorCode: 10 }, "one more");
        matches(await produce(wire, name, sizedBatch(2000)), { errorCode: 0, baseOffset: 0 }, "equal");
      },
    },
    {
      name: "#24 a timestamp an hour and more ahead is 32 with RecordErrors; the past is unlimited",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const late = Date.now() + 61 * 60_000;
        const answer = await produce(wire, name, batch({ records: [{ value: "a" }, { value: "b", timestamp: late }] }));
        matches(
          answer,
          {
            errorCode: 32,
            logStartOffset: 0,
            recordErrors: [
              {
                batchIndex: 1,
                batchIndexErrorMessage: like(
                  new RegExp(
                    `^Timestamp ${late} of message with offset 1 is out of range\\. The timestamp should be within \\[-?\\d+, \\d+\\]$`,
                  ),
                ),
              },
            ],
            errorMessage: "One or more records have been rejected due to invalid timestamp",
          },
          "answer",
        );
        for (const timestamp of [-1, -2, 0, 1]) {
          matches(
            await produce(wire, name, batch({ records: [{ value: "v", timestamp }] })),
            { errorCode: 0 },
            `${timestamp}`,
          );
        }
      },
    },
    {
      name: "#25 InitProducerId without a transactional id gives a fresh id and epoch 0 each time",
      async run(context) {
        const wire = await connected(context);
        const first = await initProducerId(wire);
        const second = await initProducerId(wire);
        equal([first.producerEpoch, second.producerEpoch], [0, 0], "epochs");
        assert(second.producerId > first.producerId, "ids grow");
        for (let version = 0; version <= 5; version++) {
          const answer = await wire.call("InitProducerId", version, {
            transactionalId: null,
            transactionTimeoutMs: -7,
          });
          matches(answer, { errorCode: 0, producerEpoch: 0 }, `v${version}`);
        }
        matches(
          await wire.call("InitProducerId", 4, { transactionalId: null, producerId: 5, producerEpoch: -1 }),
          { errorCode: 42 },
          "an id without epoch",
        );
        matches(
          await wire.call("InitProducerId", 4, { transactionalId: "", transactionTimeoutMs: 1000 }),
          { errorCode: 42 },
          "an empty transactional id",
        );
      },
    },
    {
      name: "#25 five duplicates are answered with their original offset and timestamp, an older one with 45",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const { producerId: pid } = await initProducerId(wire);
        const time = Date.now() - 1234;
        const one = (sequence: number) =>
          idempotent(pid, 0, sequence, { records: [{ value: "v", timestamp: time + sequence }] });
        for (let sequence = 0; sequence < 7; sequence++) {
          matches(
            await produce(wire, name, one(sequence)),
            { errorCode: 0, baseOffset: sequence, logAppendTimeMs: -1 },
            `${sequence}`,
          );
        }
        for (let sequence = 6; sequence >= 2; sequence--) {
          matches(
            await produce(wire, name, one(sequence)),
            { errorCode: 0, baseOffset: sequence, logAppendTimeMs: time + sequence },
            `duplicate ${sequence}`,
          );
        }
        matches(
          await produce(wire, name, one(1)),
          { errorCode: 45, baseOffset: -1, logStartOffset: 0 },
          "older than the window",
        );
        matches(await listOffsets(wire, name, -1), { offset: 7 }, "log end");
      },
    },
    {
      name: "#25 a gap, a partial overlap and a wrong first sequence of a new epoch are 45; an old epoch is 47",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const { producerId: pid } = await initProducerId(wire);
        const two = { records: values("a", "b") };
        matches(await produce(wire, name, idempotent(pid, 5, 0, two)), { errorCode: 0, baseOffset: 0 }, "first");
        matches(await produce(wire, name, idempotent(pid, 5, 3)), { errorCode: 45 }, "gap");
        matches(await produce(wire, name, idempotent(pid, 5, 1, two)), { errorCode: 45 }, "partial overlap");
        matches(await produce(wire, name, idempotent(pid, 6, 2)), { errorCode: 45 }, "a new epoch must start at 0");
        matches(await produce(wire, name, idempotent(pid, 4, 0)), { errorCode: 47 }, "an old epoch");
        matches(await produce(wire, name, idempotent(pid, 6, 0)), { errorCode: 0, baseOffset: 2 }, "the new epoch");
        matches(await produce(wire, name, idempotent(pid, 5, 2)), { errorCode: 47 }, "the epoch before");
      },
    },
    {
      name: "#25 without state any sequence is accepted, and sequences wrap after 2147483647",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const { producerId: pid } = await initProducerId(wire);
        const last = 2_147_483_647;
        matches(
          await produce(wire, name, idempotent(pid, 0, last - 1, { records: values("a", "b", "c") })),
          { errorCode: 0, baseOffset: 0 },
          "across the end",
        );
        matches(await produce(wire, name, idempotent(pid, 0, 1)), { errorCode: 0, baseOffset: 3 }, "after it");
        matches(
          await produce(wire, name, idempotent(pid, 0, last - 1, { records: values("a", "b", "c") })),
          { errorCode: 0, baseOffset: 0 },
          "the duplicate",
        );
      },
    },
    {
      name: "#25 pipelined batches and their duplicates are each written once",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const { producerId: pid } = await initProducerId(wire);
        const sent = [];
        for (let sequence = 0; sequence < 5; sequence++)
          sent.push(await wire.send("Produce", 9, produceBody(name, idempotent(pid, 0, sequence))));
        for (let sequence = 0; sequence < 5; sequence++)
          sent.push(await wire.send("Produce", 9, produceBody(name, idempotent(pid, 0, sequence))));
        for (const [index, one] of sent.entries()) {
          matches(
            await wire.receive(one),
            { responses: [{ partitionResponses: [{ errorCode: 0, baseOffset: index % 5 }] }] },
            `${index}`,
          );
        }
        matches(await listOffsets(wire, name, -1), { offset: 5 }, "log end");
      },
    },
    {
      name: "#27 min.insync.replicas above the number of replicas still accepts acks=-1",
      async run(context) {
        const { wire, name } = await createdTopic(context, 1, { "min.insync.replicas": "2" });
        matches(await produce(wire, name, batch()), { errorCode: 0, baseOffset: 0 }, "answer");
      },
    },
    {
      name: "§6 a transactional batch without a transactional id in the request is 53 for all",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const { producerId: pid } = await initProducerId(wire);
        matches(
          await produce(wire, name, idempotent(pid, 0, 0, { attributes: 0x10 })),
          { errorCode: 53, baseOffset: -1 },
          "answer",
        );
      },
    },
    {
      name: "§6 the same partition twice in a request: one answer, one batch stored",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        const one = { index: 0, records: batch() };
        const answer = await wire.call("Produce", 9, {
          acks: -1,
          timeoutMs: 5000,
          topicData: [{ name, partitionData: [one, one] }],
        });
        matches(answer, { responses: [{ partitionResponses: [{ errorCode: 0 }] }] }, "answer");
        matches(await listOffsets(wire, name, -1), { offset: 1 }, "log end");
      },
    },
    {
      name: "§6 one bad partition beside a good one: each its own answer",
      async run(context) {
        const { wire, name } = await createdTopic(context, 2);
        const partitionData = [
          { index: 0, records: batch({ crcError: 1 }) },
          { index: 1, records: batch() },
          { index: 9, records: batch() },
        ];
        const answer = await wire.call("Produce", 9, {
          acks: -1,
          timeoutMs: 5000,
          topicData: [{ name, partitionData }],
        });
        const codes = new Map(
          [0, 1, 2].map((at) => [
            numberAt(answer, `responses.0.partitionResponses.${at}.index`),
            numberAt(answer, `responses.0.partitionResponses.${at}.errorCode`),
          ]),
        );
        equal([codes.get(0), codes.get(1), codes.get(9)], [2, 0, 3], "codes");
        equal(textAt(answer, "responses.0.name"), name, "topic");
      },
    },
    {
      name: "§6 acks 1 is answered with the offset",
      async run(context) {
        const { wire, name } = await createdTopic(context);
        matches(
          await produce(wire, name, batch(), { acks: 1 }),
          { errorCode: 0, baseOffset: 0, logStartOffset: 0 },
          "answer",
        );
        matches(await produce(wire, name, batch(), { acks: 1 }), { errorCode: 0, baseOffset: 1 }, "answer");
      },
    },
    {
      name: "the test's own CRC-32C is right",
      async run() {
        equal(crc32c(Buffer.from("123456789")), 0xe3069283, "check value");
      },
    },
  ],
};
