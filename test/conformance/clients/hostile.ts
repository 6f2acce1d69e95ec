/**
 * Peers that nobody wants, all at once, against a gateway: `hostile.ts PORT TOPIC`. Prints `ready` when those that stay
 * are there, goes on with those that come and go until its standard input ends, then prints how many there were.
 */
import { Packr } from "msgpackr";
import { RawWebSocket } from "../../gateway/RawWebSocket.ts";

const [port, topic] = [Number(Bun.argv[2]), Bun.argv[3]!];
const packr = new Packr({ useRecords: false, variableMapSize: true });
const EACH = 200;
const PLENTY = { records: 1_000_000, bytes: 200_000_000 };
const hello = packr.pack({ t: "hello", id: 1, client: { name: "hostile", version: "1" } });
const open = (credit: object): Uint8Array =>
  packr.pack({ t: "open", id: 2, stream: 1, partitions: [{ topic, partition: 0, from: "earliest" }], credit });

const socket = (): Promise<RawWebSocket> => RawWebSocket.connect(port, "/v1/stream");

const stays: RawWebSocket[] = [];
for (let index = 0; index < EACH; index++) {
  // Gives credit for all and reads nothing.
  const slow = await socket();
  slow.send(hello);
  await slow.until(() => slow.frames.length > 0);
  slow.pause();
  slow.send(open(PLENTY));
  // Wants records without ever having credit for one.
  const poor = await socket();
  poor.send(hello);
  poor.send(open({ records: 0, bytes: 0 }));
  // Has said nothing, or half a frame.
  const silent = await socket();
  if (index % 2 === 0) silent.send(hello.subarray(0, 5), 2, 1_000_000);
  stays.push(slow, poor, silent);
}
console.log("ready");

let over = false;
process.stdin.on("end", () => (over = true)).resume();

const bomb = (): Uint8Array => {
  // An array of arrays of …, each header claiming four billion values.
  const bytes = new Uint8Array(100_000);
  for (let at = 0; at + 5 <= bytes.length; at += 5) bytes.set([0xdd, 0xff, 0xff, 0xff, 0xff], at);
  return bytes;
};
const noise = crypto.getRandomValues(new Uint8Array(2000));
const wrong: ReadonlyArray<(raw: RawWebSocket) => void> = [
  // A storm: there, asking for everything, and gone without a word.
  (raw) => {
    raw.send(hello);
    raw.send(open(PLENTY));
  },
  (raw) => raw.send(new Uint8Array(100), 2, 2 ** 40),
  (raw) => raw.send(hello, 1),
  (raw) => {
    raw.send(hello);
    raw.send(bomb());
  },
  (raw) => {
    raw.send(hello);
    raw.send(noise);
  },
  (raw) => raw.write(Buffer.from(noise)),
];

const counts = wrong.map(() => 0);
const storm = async (first: number): Promise<void> => {
  for (let turn = first; !over; turn++) {
    const raw = await socket().catch(() => undefined);
    const kind = turn % wrong.length;
    if (raw !== undefined) {
      counts[kind]! += 1;
      wrong[kind]!(raw);
      // Long enough for what was sent to be there, and not to be answered.
      await Bun.sleep(2);
      raw.destroy();
    }
    await Bun.sleep(3);
  }
};
await Promise.all([0, 1, 2, 3].map(storm));
console.log(JSON.stringify({ stayed: stays.length, ended: stays.filter(({ ended }) => ended).length, counts }));
process.exit(0);
