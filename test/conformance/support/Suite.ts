/**
 * What a conformance test is: a name, a body, a deadline, and the context it runs in. A test fails by throwing. It owns its
 * temporary directory and its topic names, so that every test can run against one broker that outlives it.
 */
import type { Broker, BrokerKind, Overrides } from "./Brokers.ts";

export interface Context {
  /** The broker all tests share. */
  readonly broker: Broker;
  /** Which broker the run is about; expectations may differ only through `Deviations.ts`. */
  readonly kind: BrokerKind;
  /** This test's own directory, removed after it. */
  readonly directory: string;
  /** A topic name no other test uses. */
  topic(label?: string): string;
  /** A broker of this test's own, stopped after it. */
  ownBroker(overrides?: Overrides): Promise<Broker>;
  /** Runs after the test, last added first, whatever its outcome. */
  cleanup(action: () => Promise<unknown> | unknown): void;
  /** Adds a measured figure to the test's line. */
  note(text: string): void;
}

export interface ConformanceTest {
  /** Unique; wire tests carry the number of the behaviour in the protocol reference, e.g. `#10 responses in request order`. */
  readonly name: string;
  /** Only with `--full`: too long for every push. */
  readonly full?: boolean;
  /** Needs a broker of its own, so it cannot run `--against` somebody else's. */
  readonly own?: boolean;
  /** Milliseconds, 60,000 unless told. */
  readonly timeoutMs?: number;
  run(context: Context): Promise<void>;
}

export interface Suite {
  readonly name: string;
  /** About something Kafka does not have: left out of runs against it. */
  readonly oursOnly?: boolean;
  readonly tests: readonly ConformanceTest[];
}

const shown = (value: unknown): string => {
  const text = typeof value === "string" ? JSON.stringify(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
};

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export const equal = (actual: unknown, expected: unknown, what: string): void => {
  if (!Bun.deepEquals(actual, expected, true))
    throw new Error(`${what}: ${shown(actual)}, expected ${shown(expected)}`);
};
