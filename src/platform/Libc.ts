/**
 * The few libc calls `node:fs` does not have, through `bun:ffi`. Loaded on first use and once; undefined where no libc
 * of a known name is found. Linux (x64, arm64; glibc and musl) and macOS.
 */

export interface Libc {
  /**
   * `preadv2` with `RWF_NOWAIT`: bytes read, 0 at the end of the file, negative when it would have waited for the disk
   * (or failed: the ordinary read that follows tells). Undefined where the platform has no such call.
   */
  readonly readWarm: ((descriptor: number, target: Uint8Array, position: number) => number) | undefined;
  /** Takes an exclusive lock on the open file without waiting; false when another open file holds it. */
  readonly lockExclusive: (descriptor: number) => boolean;
  /** Asks for a socket's send buffer (SO_SNDBUF) of so many bytes. */
  readonly setSendBuffer: (descriptor: number, bytes: number) => void;
  /** Makes the descriptor's file system durable; blocks, so only for a worker. Undefined where there is no `syncfs`. */
  readonly syncFileSystem: ((descriptor: number) => boolean) | undefined;
}

const RWF_NOWAIT = 8;
/** Open-file-description locks: of one open file, not of the process, and they see Kafka's own `fcntl` lock. */
const F_OFD_SETLK = 37;
const F_WRLCK = 1;
const LOCK_EX_NB = 2 | 4;

/** Level and name of SO_SNDBUF. */
const SEND_BUFFER = { linux: [1, 7], darwin: [0xffff, 0x1001] } as const;

const linuxNames = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const loadLinux = (): Libc | undefined => {
  const { dlopen, ptr, FFIType }: typeof import("bun:ffi") = require("bun:ffi");
  const open = (name: string) =>
    dlopen(name, {
      preadv2: { args: ["i32", "ptr", "i32", "i64", "i32"], returns: FFIType.i64_fast },
      fcntl: { args: ["i32", "i32", "ptr"], returns: "i32" },
      syncfs: { args: ["i32"], returns: "i32" },
      setsockopt: { args: ["i32", "i32", "i32", "ptr", "i32"], returns: "i32" },
    });
  for (const name of linuxNames) {
    let opened: ReturnType<typeof open>;
    try {
      opened = open(name);
    } catch {
      continue;
    }
    const { preadv2, fcntl, syncfs, setsockopt } = opened.symbols;
    // struct iovec { void *base; size_t length; }: one, reused, because the call is over when it returns.
    const vector = new Float64Array(2);
    const words = new Uint32Array(vector.buffer);
    const vectorPointer = ptr(vector);
    return {
      readWarm: (descriptor, target, position) => {
        const address: number = ptr(target);
        words[0] = address >>> 0;
        words[1] = Math.floor(address / 0x1_0000_0000);
        words[2] = target.length;
        return Number(preadv2(descriptor, vectorPointer, 1, position, RWF_NOWAIT));
      },
      lockExclusive: (descriptor) => {
        // struct flock { short type, whence; off_t start, length; pid_t pid; }; start = length = 0 is the whole file.
        const request = new Int16Array(16);
        request[0] = F_WRLCK;
        return fcntl(descriptor, F_OFD_SETLK, ptr(request)) === 0;
      },
      setSendBuffer: (descriptor, bytes) => {
        setsockopt(descriptor, ...SEND_BUFFER.linux, ptr(Int32Array.of(bytes)), 4);
      },
      syncFileSystem: (descriptor) => syncfs(descriptor) === 0,
    };
  }
  return undefined;
};

const loadDarwin = (): Libc | undefined => {
  const { dlopen, ptr }: typeof import("bun:ffi") = require("bun:ffi");
  const { flock, setsockopt } = dlopen("libSystem.B.dylib", {
    flock: { args: ["i32", "i32"], returns: "i32" },
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "i32"], returns: "i32" },
  }).symbols;
  return {
    readWarm: undefined,
    lockExclusive: (descriptor) => flock(descriptor, LOCK_EX_NB) === 0,
    setSendBuffer: (descriptor, bytes) => {
      setsockopt(descriptor, ...SEND_BUFFER.darwin, ptr(Int32Array.of(bytes)), 4);
    },
    syncFileSystem: undefined,
  };
};

let loaded: { readonly library: Libc | undefined } | undefined;

const load = (): Libc | undefined => {
  try {
    if (process.platform === "linux") return loadLinux();
    if (process.platform === "darwin") return loadDarwin();
  } catch {
    // No bun:ffi in this build: the caller has a slower way.
  }
  return undefined;
};

export const libc = (): Libc | undefined => (loaded ??= { library: load() }).library;
