/** What a compiler must accept, and refuse, of the stream client on a page. */
import { type Client, type Consumer, connect, json, string } from "odradek/client";
import { StreamClient } from "odradek/client/effect";

const client: Client & AsyncDisposable = await connect("wss://example", { signal: AbortSignal.timeout(1000) });
const consumer: Consumer<string, { n: number }> = client.consume({
  topics: "t",
  key: string,
  value: json<{ n: number }>(),
});
for await (const { value, offset } of consumer) console.log((value?.n ?? 0) + offset);
const exact = client.consume({ topics: "t", int64: "bigint" });
for await (const { offset } of exact) console.log(offset + 1n);
const producer = client.producer({ value: json<{ n: number }>() });
export const sent: Promise<{ readonly offset: number }> = producer.send({ topic: "t", value: { n: 1 } });
/** A group's members begin nowhere but at the ends. */
type Refused = Parameters<typeof client.consume>[0] extends { group: string; from: { offset: number } } ? never : true;
export const refused: Refused = true;
export const layer = StreamClient.layer("ws://example");
