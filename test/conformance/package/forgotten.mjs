/**
 * A program that starts a broker and does not care what becomes of it: `forgotten.mjs` just ends, `forgotten.mjs stay` waits
 * to be killed. Prints where the broker listens and keeps its data.
 */
import { testBroker } from "odradek/testing";

const broker = await testBroker({ disk: "temporary", topics: ["orders"] });
console.log(JSON.stringify({ port: broker.port, directory: broker.directory }));
if (process.argv[2] === "stay") setInterval(() => {}, 1000);
