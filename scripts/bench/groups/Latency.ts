/** One record at a time: from its send to its ack, and to a consumer that waits for it. */
import { createTopic } from "../../../test/conformance/support/Requests.ts";
import { Wire } from "../../../test/conformance/support/Wire.ts";
import { figure, load, type MeasureGroup } from "../Measures.ts";

export const latency: MeasureGroup = {
  name: "latency",
  measures: {
    ackP50: { name: "one by one, send to ack, p50", unit: "µs", better: "less" },
    ackP99: { name: "one by one, send to ack, p99", unit: "µs", better: "less" },
    consumerP50: { name: "one by one, send to consumer, p50", unit: "µs", better: "less" },
    consumerP99: { name: "one by one, send to consumer, p99", unit: "µs", better: "less" },
  },
  floors: [
    { text: "one-by-one produce p50: at most Kafka's", measure: "ackP50", atLeast: 1 },
    {
      text: "one-by-one p50, ours durable, Kafka page cache: at most twice",
      measure: "ackP50",
      atLeast: 0.5,
      ours: "durable",
    },
  ],
  async measure({ broker, program, scale, add }) {
    const wire = await Wire.open(broker);
    const { name } = await createTopic(wire, "latency");
    wire.close();
    const answer = await load(program, ["latency", broker.address, name, `${5000 / scale}`]);
    add("ackP50", figure(answer, "ackMicroseconds", "p50"));
    add("ackP99", figure(answer, "ackMicroseconds", "p99"));
    add("consumerP50", figure(answer, "consumerMicroseconds", "p50"));
    add("consumerP99", figure(answer, "consumerMicroseconds", "p99"));
  },
};
