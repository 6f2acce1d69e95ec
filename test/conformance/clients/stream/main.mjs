/**
 * Plays a scene under Node or Bun: `main.mjs SCENES-MODULE SCENE URL TOPIC NAME`. What the scene says is a line of JSON each
 * on standard output; a line on standard input is a cue.
 */
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [module, scene, url, topic, name] = process.argv.slice(2);
const { SCENES } = await import(pathToFileURL(module).href);
const cues = new Map();
const cueOf = (text) => {
  if (!cues.has(text)) cues.set(text, Promise.withResolvers());
  return cues.get(text);
};
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => cueOf(line).resolve());
const say = (what, value) => process.stdout.write(`${JSON.stringify({ what, value })}\n`);
try {
  say("done", await SCENES[scene]({ url, topic, name, say, cue: (text) => cueOf(text).promise }));
} catch (error) {
  say("failed", error instanceof Error ? `${error.stack}\n${error.cause ?? ""}` : String(error));
}
lines.close();
