/** The ceiling: a server in Bun that gives each frame back, measured by the same client as the brokers. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { figure, load, status } from "../Measures.ts";

/** Figures by their names with units. */
export const measureEcho = async (program: string, scale: number): Promise<Record<string, number>> => {
  const began = performance.now();
  const server = join(import.meta.dir, "..", "echo.ts");
  const child = spawn(process.execPath, [server], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout.once("data", (chunk: Buffer) => resolve(/127\.0\.0\.1:\d+/.exec(chunk.toString())?.[0] ?? ""));
      child.once("exit", () => reject(new Error("the echo server ended")));
    });
    const started = performance.now() - began;
    const small = await load(program, ["echo", address, "200", `${20_000 / scale}`, "1"]);
    const large = await load(program, ["echo", address, "1000000", `${2000 / scale}`, "5"]);
    return {
      "start, ms": started,
      "200 B frames one by one, p50 µs": figure(small, "roundTripMicroseconds", "p50"),
      "200 B frames one by one, p99 µs": figure(small, "roundTripMicroseconds", "p99"),
      "1 MB frames, 5 in flight, MB/s each way": figure(large, "megabytesPerSecond"),
      "memory afterwards, anonymous MiB": child.pid === undefined ? 0 : status(child.pid, "RssAnon"),
    };
  } finally {
    child.kill("SIGKILL");
  }
};
