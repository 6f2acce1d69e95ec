/**
 * Does to a simulated broker what a plan says, at the time it says, and takes it back. What must stay true: after `end`
 * nothing is wrong any more that an operator would not call a broken machine: wires are whole, the disk works, nobody is
 * paused, and a broker that hangs in a flush has been restarted.
 */
import {
  CRASHES,
  DISK_BREAKERS,
  DISK_FAULTS,
  type ScenarioFault as Fault,
  type ScenarioFaultKind as FaultKind,
} from "../testing/Scenario.ts";
import type { DiskFault, DiskOperation } from "./DiskFault.ts";
import type { SeededRandom } from "./SeededRandom.ts";
import type { SimulatedProcess, Simulation } from "./Simulation.ts";

/** Whom the faults hit. */
export interface Victims {
  /** The broker's process now, dead or alive. */
  readonly broker: () => SimulatedProcess | undefined;
  readonly brokerHost: string;
  readonly clientHosts: () => ReadonlyArray<string>;
  /** The process that runs on a client's machine now. */
  readonly client: (host: string) => SimulatedProcess | undefined;
}

const MINUTE_MS = 60_000;
/**
 * What lies beside the records and can be made again from them, so that a flipped bit in it must change no answer. Not
 * `partition.metadata`: until a checkpoint knows of its records, a folder that does not say whose it is begins anew.
 */
const SIDE_FILE =
  /\.(index|timeindex|txnindex|snapshot)$|leader-epoch-checkpoint$|^\/data\/[^/]*(checkpoint|cleanshutdown)[^/]*$/;
/** Those that need no client. */
const BROKER_FAULTS: ReadonlySet<FaultKind> = new Set([...CRASHES, ...DISK_FAULTS, "pause", "clock jump", "bit flip"]);

export class Faults {
  /** Faults that took effect, by kind. */
  readonly counts = new Map<FaultKind, number>();
  private readonly disk = new Map<Fault, SeededRandom>();
  /** Operations of the disk that were refused or cut short so far. */
  diskErrors = 0;
  private ended = false;
  private hung = false;

  constructor(
    private readonly world: Simulation,
    private readonly operator: SimulatedProcess,
    private readonly planned: ReadonlyArray<Fault>,
    private readonly victims: Victims,
  ) {}

  /** Begins the safety phase. */
  start(): void {
    for (const fault of this.planned) {
      this.operator.clock.after(fault.atMs, () => {
        if (!this.ended) this.begin(fault);
      });
    }
  }

  /** The heal. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.disk.clear();
    this.world.network.heal();
    this.world.calm = true;
    const broker = this.victims.broker();
    broker?.resume();
    for (const host of this.victims.clientHosts()) this.victims.client(host)?.resume();
    // A flush that hangs, or a log directory that was given up (Kafka's too stays offline): the operator restarts.
    if (this.hung || DISK_BREAKERS.some((kind) => this.counts.has(kind))) broker?.kill();
  }

  /** What happens to an operation of the disk. */
  onDisk(operation: DiskOperation): DiskFault | undefined {
    for (const [fault, random] of this.disk) {
      const found = this.diskFault(fault, random, operation);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private diskFault({ kind }: Fault, random: SeededRandom, operation: DiskOperation): DiskFault | undefined {
    const flush = operation.kind === "flush" || operation.kind === "flushDirectory";
    switch (kind) {
      case "slow flush":
        return flush ? this.hit(kind, { delayMs: random.between(1, 150) }) : undefined;
      case "failed flush":
        return flush && random.chance(0.15) ? this.hit(kind, { error: "EIO" }) : undefined;
      case "hung flush":
        if (this.hung || operation.kind !== "flush" || !random.chance(0.3)) return undefined;
        this.hung = true;
        return this.hit(kind, { hang: true });
      case "no space":
        return operation.kind === "write" || operation.kind === "create"
          ? this.hit(kind, { error: "ENOSPC" })
          : undefined;
      case "slow disk":
        return random.chance(0.5) ? this.hit(kind, { delayMs: random.between(1, 30) }) : undefined;
      case "read error":
        return operation.kind === "read" && random.chance(0.1) ? this.hit(kind, { error: "EIO" }) : undefined;
      case "write error":
        return operation.kind === "write" && random.chance(0.2) ? this.hit(kind, { error: "EIO" }) : undefined;
      case "short write":
        return operation.kind === "write" && random.chance(0.4)
          ? this.hit(kind, { short: random.between(0, 100) })
          : undefined;
      default:
        return undefined;
    }
  }

  private hit(kind: FaultKind, fault: DiskFault): DiskFault {
    if (kind !== "slow flush" && kind !== "slow disk") this.diskErrors += 1;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    return fault;
  }

  private begin(fault: Fault): void {
    const { world, victims, operator } = this;
    const { kind, forMs } = fault;
    const random = world.random.fork(`fault ${fault.id}`);
    const broker = victims.broker();
    const clientHosts = victims.clientHosts();
    if (clientHosts.length === 0 && !BROKER_FAULTS.has(kind)) return;
    const count = (): void => void this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const later = (task: () => void): void => {
      operator.clock.after(forMs, () => {
        if (!this.ended) task();
      });
    };
    world.trace.add(`fault ${fault.id}: ${kind} for ${forMs} ms`);
    switch (kind) {
      case "power cut":
      case "kill":
        if (broker?.alive !== true) return;
        count();
        if (kind === "kill") broker.kill();
        else broker.powerCut(fault.cut ?? "lost");
        return;
      case "pause":
        if (broker?.alive !== true) return;
        count();
        broker.pause();
        return later(() => broker.resume());
      case "clock jump":
        if (broker?.alive !== true) return;
        count();
        // Never more than this away from everybody else's: records an hour ahead are refused.
        return broker.jumpWall(random.between(-20 * MINUTE_MS, 20 * MINUTE_MS) - broker.skew.wallMs);
      case "bit flip": {
        const files = [...(broker?.platter.files() ?? [])].filter(
          ([path, { length }]) => SIDE_FILE.test(path) && length > 0,
        );
        if (broker === undefined || files.length === 0) return;
        count();
        const [path, { length }] = random.pick(files);
        const bit = random.below(length * 8);
        world.trace.add(`fault ${fault.id}: bit ${bit} of ${path}`);
        return broker.platter.flipBit(path, bit);
      }
      case "client kill":
      case "client pause": {
        const client = victims.client(random.pick(clientHosts));
        if (client?.alive !== true) return;
        count();
        if (kind === "client kill") return client.kill();
        client.pause();
        return later(() => client.resume());
      }
      case "client reset":
        count();
        return world.network.resetConnections(random.pick(clientHosts));
      case "reset":
        count();
        return world.network.resetConnections(random.chance(0.5) ? victims.brokerHost : random.pick(clientHosts));
      case "partition":
      case "half-open": {
        count();
        const client = random.pick(clientHosts);
        const requests = kind === "partition" || random.chance(0.3);
        if (requests) world.network.partition(client, victims.brokerHost);
        if (kind === "partition" || !requests) world.network.partition(victims.brokerHost, client);
        return later(() => world.network.heal());
      }
      case "delay": {
        count();
        const stall = (left: number): void => {
          if (this.ended || left <= 0) return;
          for (const client of clientHosts) world.network.partition(victims.brokerHost, client);
          operator.clock.after(random.between(1, 60), () => {
            world.network.heal();
            operator.clock.after(random.between(1, 30), () => stall(left - 1));
          });
        };
        return stall(3);
      }
      default:
        this.disk.set(fault, random);
        return later(() => {
          this.disk.delete(fault);
          // Nothing but a restart ends a flush that hangs.
          if (kind !== "hung flush" || !this.hung) return;
          this.hung = false;
          victims.broker()?.kill();
        });
    }
  }
}
