/**
 * One life of a broker inside this process: the ports it runs on, all of which go deaf together. What must stay true:
 * after `end` nothing the broker left behind has any effect (no timer fires, no task runs, no answer of the disk
 * arrives, no socket is written to), and everything it had open is given back: sockets, listeners, files, locks.
 *
 * That is a kill -9 as the outside sees it: what was written stays readable, peers find their connections gone.
 */
import type { Disk, DiskFile } from "../src/platform/Disk.ts";
import type { HttpConnection, HttpListener, HttpServer } from "../src/platform/HttpServer.ts";
import type { Listener, Network, Socket, SocketHandlers } from "../src/platform/Network.ts";
import type { Random } from "../src/platform/Random.ts";
import type { TaskList } from "../src/platform/TaskList.ts";
import { isPending, type MaybePending } from "../src/prelude/Types.ts";
import type { Codecs } from "../src/record/Compression.ts";
import type { Platform } from "./Broker.ts";
import { MortalClock } from "./MortalClock.ts";

/** Thrown at code of a life that is over and still asks for something. */
export class LifeIsOver extends Error {
  override readonly name = "LifeIsOver";
}

export class BrokerLife implements Platform {
  /** For a simulated disk, which goes deaf by itself. */
  readonly name: string;
  alive = true;
  readonly clock: MortalClock;
  readonly random: Random;
  readonly codecs: Codecs;
  readonly tasks: TaskList;
  readonly network: Network;
  readonly disk: Disk;
  private readonly files: FilesOfLife | undefined;
  private readonly sockets = new Set<Socket>();
  private readonly listeners = new Set<Listener>();
  private readonly httpListeners = new Set<HttpListener>();

  /** `diskOf` gives the disk of this life when it is not the platform's own (one in memory). */
  constructor(number: number, platform: Platform, diskOf?: (life: BrokerLife) => Disk) {
    this.name = `life ${number}`;
    this.random = platform.random;
    this.codecs = platform.codecs;
    this.clock = new MortalClock(platform.clock);
    this.tasks = this.tasksOf(platform.tasks);
    this.network = this.networkOf(platform.network);
    this.files = diskOf === undefined ? new FilesOfLife(platform.disk) : undefined;
    this.disk = diskOf?.(this) ?? this.files!;
  }

  /**
   * Ends this life; resolves when the last file is closed. To be called from a task of the event loop's own (a timer),
   * when none of the broker's code is half way through something.
   */
  end(): Promise<void> {
    this.alive = false;
    this.clock.end();
    for (const listener of this.listeners) listener.close();
    for (const listener of this.httpListeners) listener.abort();
    for (const socket of this.sockets) socket.destroy();
    this.listeners.clear();
    this.httpListeners.clear();
    this.sockets.clear();
    return this.files?.end() ?? Promise.resolve();
  }

  /** The HTTP port for this life. */
  httpOf(server: HttpServer): HttpServer {
    return {
      listen: (endpoint, maxBytes, handle) => {
        const listener = server.listen(endpoint, maxBytes, (request, connection) =>
          this.alive ? handle(request, this.mortalHttp(connection)) : new Promise(() => {}),
        );
        this.httpListeners.add(listener);
        return listener;
      },
    };
  }

  private mortalHttp(connection: HttpConnection): HttpConnection {
    return {
      local: connection.local,
      remote: connection.remote,
      waitForAnswer: () => connection.waitForAnswer(),
      upgrade: (upgrade) =>
        connection.upgrade({
          ...upgrade,
          accept: (socket) => {
            const handlers = upgrade.accept(socket);
            return {
              onMessage: (message) => {
                if (this.alive) handlers.onMessage(message);
              },
              onDrain: () => {
                if (this.alive) handlers.onDrain();
              },
              onClose: (code, reason) => {
                if (this.alive) handlers.onClose(code, reason);
              },
            };
          },
        }),
    };
  }

  private tasksOf(tasks: TaskList): TaskList {
    return {
      schedule: (task) => {
        if (this.alive) tasks.schedule(() => (this.alive ? task() : undefined));
      },
      drain: () => tasks.drain(),
    };
  }

  private networkOf(network: Network): Network {
    return {
      listen: (endpoint, accept) => {
        const listener = network.listen(endpoint, (socket) => this.mortal(accept(socket), socket));
        const close = (): void => {
          this.listeners.delete(mine);
          listener.close();
        };
        const mine: Listener = { endpoint: listener.endpoint, close };
        this.listeners.add(mine);
        return mine;
      },
      connect: (endpoint, handlers) => network.connect(endpoint, handlers),
    };
  }

  private mortal(handlers: SocketHandlers, socket: Socket): SocketHandlers {
    this.sockets.add(socket);
    return {
      onData: (from, chunk) => {
        if (this.alive) handlers.onData(from, chunk);
      },
      onDrain: (from) => {
        if (this.alive) handlers.onDrain(from);
      },
      onClose: (from, error) => {
        this.sockets.delete(socket);
        if (this.alive) handlers.onClose(from, error);
      },
    };
  }
}

/** The real disk for one life: knows what is open, and lets no answer through when the life is over. */
class FilesOfLife implements Disk {
  private alive = true;
  private readonly open_ = new Set<FileOfLife>();
  private readonly locks = new Set<() => void>();
  readonly flushFileSystem: Disk["flushFileSystem"];

  constructor(private readonly disk: Disk) {
    const flush = disk.flushFileSystem;
    this.flushFileSystem = flush === undefined ? undefined : (directory) => this.hear(flush(this.at(directory)));
  }

  async end(): Promise<void> {
    this.alive = false;
    for (const unlock of this.locks) unlock();
    this.locks.clear();
    await Promise.all(Array.from(this.open_, (file) => file.abandon()));
  }

  /** An answer that never comes when the life is over by then. */
  hear<A>(answer: MaybePending<A>): MaybePending<A> {
    if (!isPending(answer)) return answer;
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => {
          if (this.alive) resolve(value);
        },
        (error: unknown) => {
          if (this.alive) reject(error);
        },
      );
    });
  }

  open(path: string, mode: "read" | "write"): DiskFile {
    const file = new FileOfLife(this, this.disk.open(this.at(path), mode), () => this.open_.delete(file));
    this.open_.add(file);
    return file;
  }

  lock(path: string): (() => void) | undefined {
    const unlock = this.disk.lock(this.at(path));
    if (unlock === undefined) return undefined;
    const once = (): void => {
      if (this.locks.delete(once)) unlock();
    };
    this.locks.add(once);
    return once;
  }

  exists(path: string): boolean {
    return this.disk.exists(this.at(path));
  }
  fileSize(path: string): number | undefined {
    return this.disk.fileSize(this.at(path));
  }
  modifiedAt(path: string): number | undefined {
    return this.disk.modifiedAt(this.at(path));
  }
  list(directory: string): string[] {
    return this.disk.list(this.at(directory));
  }
  isDirectory(path: string): boolean {
    return this.disk.isDirectory(this.at(path));
  }
  makeDirectory(path: string): void {
    this.disk.makeDirectory(this.at(path));
  }
  rename(from: string, to: string): void {
    this.disk.rename(this.at(from), to);
  }
  remove(path: string): void {
    this.disk.remove(this.at(path));
  }
  removeDirectory(path: string): void {
    this.disk.removeDirectory(this.at(path));
  }
  flushDirectory(directory: string): MaybePending<void> {
    return this.hear(this.disk.flushDirectory(this.at(directory)));
  }
  readFile(path: string): Uint8Array | undefined {
    return this.disk.readFile(this.at(path));
  }
  replaceFile(path: string, content: Uint8Array): void {
    this.disk.replaceFile(this.at(path), content);
  }
  freeBytes(directory: string): number {
    return this.disk.freeBytes(this.at(directory));
  }
  totalBytes(directory: string): number {
    return this.disk.totalBytes(this.at(directory));
  }

  /** The path, while there is a life to ask for it. */
  at(path: string): string {
    if (!this.alive) throw new LifeIsOver(`${path} was asked for by a broker that is no more`);
    return path;
  }
}

class FileOfLife implements DiskFile {
  readonly path: string;
  private busy = 0;
  private closed = false;
  private whenIdle: (() => void) | undefined;

  constructor(
    private readonly disk: FilesOfLife,
    private readonly file: DiskFile,
    private readonly forget: () => void,
  ) {
    this.path = file.path;
  }

  size(): number {
    this.disk.at(this.path);
    return this.file.size();
  }

  write(chunks: ReadonlyArray<Uint8Array>, position: number): MaybePending<number> {
    this.disk.at(this.path);
    return this.watch(this.file.write(chunks, position));
  }

  read(target: Uint8Array, position: number): MaybePending<number> {
    this.disk.at(this.path);
    return this.watch(this.file.read(target, position));
  }

  async readAside(target: Uint8Array, position: number): Promise<number> {
    this.disk.at(this.path);
    return this.watch(this.file.readAside(target, position));
  }

  flush(): MaybePending<void> {
    this.disk.at(this.path);
    return this.watch(this.file.flush());
  }

  truncate(size: number): void {
    this.disk.at(this.path);
    this.file.truncate(size);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.forget();
    this.file.close();
  }

  /** Closes the file as soon as nothing is being done with it: its number may be another file's afterwards. */
  async abandon(): Promise<void> {
    if (this.busy > 0) await new Promise<void>((idle) => (this.whenIdle = idle));
    this.close();
  }

  private watch<A>(answer: MaybePending<A>): MaybePending<A> {
    if (!isPending(answer)) return answer;
    this.busy += 1;
    const done = (): void => {
      this.busy -= 1;
      if (this.busy === 0) this.whenIdle?.();
    };
    answer.then(done, done);
    return this.disk.hear(answer);
  }
}
