/** The thread behind CleaningThread.ts: one cleaning pass, each message a call of it, each answer what the call answered. */
import { CleaningPass } from "../src/log/CleaningPass.ts";
import { makeBunCodecs } from "../src/platform/BunCodecs.ts";
import { loadNativeCrc32c } from "../src/platform/NativeCrc32c.ts";
import type { CleaningAnswer, CleaningCall } from "./CleaningThread.ts";

declare const self: Worker;

loadNativeCrc32c();
const pass = new CleaningPass(makeBunCodecs());

const perform = (call: CleaningCall): CleaningAnswer => {
  switch (call.name) {
    case "begin":
      pass.begin(call.start);
      return {};
    case "aborted":
      pass.aborted(call.transactions);
      return {};
    case "index":
      return { value: pass.index(call.chunk, call.from) };
    case "beginCleaning":
      pass.beginCleaning(call.times);
      return {};
    case "beginGroup":
      pass.beginGroup(call.state);
      return {};
    case "clean":
      return { value: pass.clean(call.chunk, call.endsGroup) };
  }
};

self.onmessage = ({ data }: MessageEvent<CleaningCall>) => {
  let answer: CleaningAnswer;
  try {
    answer = perform(data);
  } catch (error) {
    answer = { failure: error instanceof Error ? error.message : String(error) };
  }
  const { value } = answer;
  // What the bytes lie in goes back without a copy.
  self.postMessage(answer, value !== undefined && "bytes" in value ? [value.bytes.buffer as ArrayBuffer] : []);
};
