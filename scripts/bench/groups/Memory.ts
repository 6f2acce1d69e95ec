/** Memory and CPU of a broker that nobody speaks to. */
import { sleep } from "../../../test/conformance/support/Process.ts";
import { cpuSeconds, type MeasureGroup, status } from "../Measures.ts";

export const memory: MeasureGroup = {
  name: "memory",
  measures: {
    idleAnon: { name: "memory idle, anonymous", unit: "MiB", better: "less" },
    idleFile: { name: "memory idle, file pages", unit: "MiB", better: "less" },
    idleCpu: { name: "CPU idle", unit: "% of a core", better: "less" },
  },
  floors: [{ text: "idle anonymous memory: at most 1/3", measure: "idleAnon", atLeast: 3 }],
  async measure({ broker, scale, add }) {
    await sleep(3000);
    const seconds = scale === 1 ? 10 : 3;
    const before = cpuSeconds(broker.pid);
    await sleep(seconds * 1000);
    add("idleCpu", ((cpuSeconds(broker.pid) - before) / seconds) * 100);
    add("idleAnon", status(broker.pid, "RssAnon"));
    add("idleFile", status(broker.pid, "RssFile"));
  },
};
