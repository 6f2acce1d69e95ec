/**
 * Plays the stream client's scenes (`clients/stream`) in Bun, in Node 22 or on a page of headless Chromium, against a broker
 * with its gateway behind a proxy that can be cut. It owns the children, the page's server and the proxy, and ends them with
 * the test.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, connect as dial, type Socket } from "node:net";
import { join } from "node:path";
import type { Broker, Overrides } from "./Brokers.ts";
import { node22 } from "./Cache.ts";
import { sleep } from "./Process.ts";
import { assert, type Context } from "./Suite.ts";

export type Runtime = "Bun" | "Node" | "Chromium";

const sources = join(import.meta.dir, "..", "clients", "stream");

/** A scene that is being played. */
export interface Playing {
  /** Everything it said under that name, in order. */
  said(what: string): unknown[];
  /** What the scene answered; rejects with its error. */
  readonly done: Promise<unknown>;
  cue(name: string): void;
  /** Anonymous memory of the process that plays it, in MiB. */
  memory(): number;
}

interface Said {
  readonly what: string;
  readonly value: unknown;
}

/** What a scene says, wherever it comes from. */
class Script {
  readonly said = new Map<string, unknown[]>();
  private readonly ending = Promise.withResolvers<unknown>();

  get done(): Promise<unknown> {
    return this.ending.promise;
  }

  take({ what, value }: Said): void {
    if (what === "done") this.ending.resolve(value);
    else if (what === "failed") this.fail(String(value));
    else this.said.set(what, [...(this.said.get(what) ?? []), value]);
  }

  fail(why: string): void {
    this.ending.reject(new Error(why));
    this.done.catch(() => {});
  }
}

export class StreamStage {
  private constructor(
    private readonly context: Context,
    readonly broker: Broker,
    /** Of the gateway itself. */
    readonly url: string,
    private readonly proxy: Wire,
    private readonly pages: Pages,
    private readonly scenes: string,
  ) {}

  static async open(context: Context, overrides: Overrides = {}): Promise<StreamStage> {
    const scenes = join(context.directory, "scenes");
    const entrypoints = [join(sources, "Scenes.ts")];
    await Bun.build({ entrypoints, target: "browser", splitting: true, outdir: scenes });
    const pages = new Pages(scenes);
    context.cleanup(() => pages.close());
    const broker = await context.ownBroker({
      "http.listeners": "http://127.0.0.1:0",
      "http.allowed.origins": pages.origin,
      ...overrides,
    });
    const [, url] = /HTTP and WebSocket on (http:\/\/\S+)/.exec(broker.log()) ?? [];
    assert(url !== undefined, `the broker names no gateway:\n${broker.log()}`);
    const proxy = await Wire.open(Number(new URL(url).port));
    context.cleanup(() => proxy.close());
    return new StreamStage(context, broker, url, proxy, pages, scenes);
  }

  /** Ends every connection of the scenes at once, and lets none be made for a while. */
  async cut(forMs: number): Promise<void> {
    this.proxy.cut();
    await sleep(forMs);
    this.proxy.mend();
  }

  play(runtime: Runtime, scene: string, topic: string, name: string): Promise<Playing> {
    const parts = [scene, `http://127.0.0.1:${this.proxy.port}`, topic, name] as const;
    return runtime === "Chromium" ? this.browse(...parts) : this.run(runtime, ...parts);
  }

  private async run(runtime: "Bun" | "Node", ...parts: readonly string[]): Promise<Playing> {
    const command = runtime === "Bun" ? process.execPath : await node22();
    const child = spawn(command, [join(sources, "main.mjs"), join(this.scenes, "Scenes.js"), ...parts], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    const gone = once(child, "exit");
    this.context.cleanup(async () => {
      child.kill("SIGKILL");
      await gone;
    });
    const script = new Script();
    let rest = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const text = rest + chunk.toString();
      const cut = text.lastIndexOf("\n") + 1;
      rest = text.slice(cut);
      for (const line of text.slice(0, cut).split("\n")) if (line.startsWith("{")) script.take(JSON.parse(line));
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-4000);
    });
    child.on("exit", (code) => script.fail(`${runtime} ended with ${code}: ${errors}`));
    return playing(
      script,
      (cue) => void child.stdin.write(`${cue}\n`),
      () => residentMiB(child.pid),
    );
  }

  private async browse(scene: string, url: string, topic: string, name: string): Promise<Playing> {
    assert(existsSync("/usr/bin/chromium"), "Chromium is missing: apt-get install chromium");
    const script = this.pages.begin();
    const query = new URLSearchParams({ scene, url, topic, name });
    const child = spawn(
      "/usr/bin/chromium",
      [
        ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"],
        ...["--disable-background-networking", "--disable-component-update", "--js-flags=--expose-gc"],
        ...["--enable-precise-memory-info", `--user-data-dir=${join(this.context.directory, `chromium-${scene}`)}`],
        `${this.pages.origin}/?${query}`,
      ],
      // In a group of its own: its renderers end with it.
      { stdio: "ignore", detached: true },
    );
    const gone = once(child, "exit");
    this.context.cleanup(async () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, "SIGKILL");
      await gone;
    });
    child.on("exit", (code) => script.fail(`Chromium ended with ${code}`));
    return playing(
      script,
      (cue) => this.pages.cue(cue),
      () => residentMiB(rendererOf(child)),
    );
  }
}

const playing = (script: Script, cue: (name: string) => void, memory: () => number): Playing => ({
  said: (what) => script.said.get(what) ?? [],
  done: script.done,
  cue,
  memory,
});

/** Anonymous memory of a process; 0 when it is not there. */
const residentMiB = (pid: number | undefined): number => {
  try {
    const [, kib] = /RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib ?? 0) / 1024;
  } catch {
    return 0;
  }
};

/** The process of the page: the largest renderer below the browser. */
const rendererOf = (browser: ChildProcess): number | undefined => {
  const parents = new Map<number, number>();
  const renderers: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const [, parent] = /^\d+ \(.*\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, "utf8")) ?? [];
      parents.set(Number(name), Number(parent));
      if (readFileSync(`/proc/${name}/cmdline`, "utf8").includes("--type=renderer")) renderers.push(Number(name));
    } catch {
      // Gone meanwhile.
    }
  }
  const isBelow = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at))
      if (at === browser.pid) return true;
    return false;
  };
  return renderers.filter(isBelow).sort((a, b) => residentMiB(b) - residentMiB(a))[0];
};

/** Serves the page and its modules, and hears what it says. */
class Pages {
  readonly origin: string;
  private script = new Script();
  private readonly cues = new Set<string>();
  private readonly server;

  constructor(scenes: string) {
    // As strict as a page may be: nothing inline, nothing evaluated, no WebAssembly.
    const headers = {
      "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self' ws://127.0.0.1:*",
      "cache-control": "no-store",
    };
    this.server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const { pathname, search, searchParams } = new URL(request.url);
        if (pathname === "/say") {
          this.script.take((await request.json()) as Said);
          return new Response("{}", { headers });
        }
        if (pathname === "/cue") return Response.json(this.cues.has(search.slice(1)), { headers });
        if (pathname.startsWith("/scenes/"))
          return new Response(Bun.file(join(scenes, pathname.slice(8))), { headers });
        if (pathname === "/page.mjs") return new Response(Bun.file(join(sources, "page.mjs")), { headers });
        if (pathname === "/") {
          // A hostile page allows itself everything.
          const strict = searchParams.get("scene") !== "foreign";
          return new Response(Bun.file(join(sources, "page.html")), strict ? { headers } : {});
        }
        return new Response("", { status: 404 });
      },
    });
    this.origin = `http://127.0.0.1:${this.server.port}`;
  }

  begin(): Script {
    this.script = new Script();
    return this.script;
  }

  cue(name: string): void {
    this.cues.add(name);
  }

  close(): Promise<void> {
    return this.server.stop(true);
  }
}

/** A proxy: passes bytes on, until it is cut. */
class Wire {
  private readonly sockets = new Set<Socket>();
  private whole = true;
  port = 0;

  private constructor(private readonly target: number) {}

  static async open(target: number): Promise<Wire> {
    const proxy = new Wire(target);
    const server = createServer((near) => proxy.accept(near)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    assert(address !== null && typeof address !== "string", "no port");
    proxy.port = address.port;
    proxy.server = server;
    return proxy;
  }

  private server: ReturnType<typeof createServer> | undefined;

  private accept(near: Socket): void {
    if (!this.whole) {
      near.destroy();
      return;
    }
    const far = dial({ host: "127.0.0.1", port: this.target });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(one);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  }

  cut(): void {
    this.whole = false;
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.whole = true;
  }

  close(): void {
    this.cut();
    this.server?.close();
  }
}
