/** The stream client from the package, against the broker from the package: `node clientUnderNode.mjs URL`. */
import { connect, string } from "odradek/client";

const client = await connect(process.argv[2]);
await client.topics.create("packaged");
const consumer = client.consume({ topics: "packaged", from: "earliest", value: string });
await client.producer({ value: string }).send({ topic: "packaged", value: "hello" });
for await (const { value } of consumer) {
  console.log(value);
  break;
}
await client.close();
