/**
 * The child process that hosts a broker for a test which runs on Node: the host of InProcessBroker.ts, told what to do
 * by its parent. What must stay true: it ends with its parent, however that ended, and leaves no directory of its own.
 */
import type { BrokerHost } from "./BrokerHost.ts";
import type { FromChild, ToChild } from "./ChildProtocol.ts";
import { startInProcess } from "./InProcessBroker.ts";

let host: BrokerHost | undefined;

const tell = (message: FromChild): void => {
  process.send?.(message);
};

const call = async (message: ToChild): Promise<void> => {
  switch (message.type) {
    case "start":
      host = await startInProcess(message.options, {
        log: (level, text) => tell({ type: "log", level, message: text }),
        fault: (fault) => tell({ type: "fault", fault }),
      });
      return;
    case "powerCut":
      return host?.powerCut(message.cut);
    default:
      return host?.[message.type]();
  }
};

process.on("message", (message: ToChild) => {
  call(message).then(
    () => tell({ type: "done", call: message.call, address: host!.address }),
    (error: unknown) =>
      tell({ type: "failed", call: message.call, message: error instanceof Error ? error.message : String(error) }),
  );
});

// The channel closes when the parent lets go of it, and when the parent is no more.
process.on("disconnect", () => {
  const ended = host?.dispose() ?? Promise.resolve();
  ended.then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
// Ctrl-C at a terminal reaches this process too; what is to be done then the parent decides.
process.on("SIGINT", () => {});
