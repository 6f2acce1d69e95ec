/**
 * Records as `consume` and `produce` print them, gathered into large writes. What must stay true: after `flush` has
 * resolved everything given to `add` has been taken, and memory holds little more than one write.
 */
import type { OutputForm } from "../src/cli/ConsumeArguments.ts";
import type { ConsumedRecord, PartitionBounds } from "../src/cli/ConsumedRecord.ts";
import { envelopeOf } from "../src/cli/RecordEnvelope.ts";
import type { Terminal } from "../src/platform/Terminal.ts";
import { ByteWriter } from "../src/prelude/ByteWriter.ts";

const WRITE_BYTES = 131_072;

const utf8 = new TextEncoder();

export class RecordPrinter {
  private pending = new ByteWriter(WRITE_BYTES);

  constructor(
    private readonly terminal: Terminal,
    private readonly form: OutputForm,
  ) {}

  /** There is enough for a write. */
  get isFull(): boolean {
    return this.pending.length >= WRITE_BYTES;
  }

  add(record: ConsumedRecord, bounds: PartitionBounds | undefined): void {
    const { form, pending } = this;
    if (form.kind === "format") form.write(pending, record, bounds);
    else {
      const envelope = envelopeOf(record, form.metaOnly);
      pending.raw(utf8.encode(`${JSON.stringify(envelope, null, form.pretty ? 2 : 0)}\n`));
    }
  }

  /** Rejects as the terminal does. */
  async flush(): Promise<void> {
    const { pending } = this;
    if (pending.length === 0) return;
    this.pending = new ByteWriter(WRITE_BYTES);
    await this.terminal.write(pending.toBytes());
  }
}
