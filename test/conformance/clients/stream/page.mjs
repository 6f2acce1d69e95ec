/** Plays a scene on a page: what it says is posted to the server the page came from, cues are asked for there. */
import { SCENES } from "/scenes/Scenes.js";

const { searchParams } = new URL(location.href);
const [scene, url, topic, name] = ["scene", "url", "topic", "name"].map((key) => searchParams.get(key));
let posting = Promise.resolve();
const say = (what, value) => {
  const memory = performance.memory?.usedJSHeapSize;
  const body = JSON.stringify({ what, value, memory });
  posting = posting
    .then(() => fetch("/say", { method: "POST", body, keepalive: body.length < 50_000 }))
    .catch(() => {});
};
const cue = async (text) => {
  while (!(await (await fetch(`/cue?${text}`)).json())) await new Promise((resolve) => setTimeout(resolve, 50));
};
try {
  say("done", await SCENES[scene]({ url, topic, name, say, cue }));
} catch (error) {
  say("failed", error instanceof Error ? `${error.stack}\n${error.cause ?? ""}` : String(error));
}
