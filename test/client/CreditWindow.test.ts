import { expect, test } from "bun:test";
import fc from "fast-check";
import { CreditWindow } from "../../src/client/CreditWindow.ts";

interface Piece {
  readonly records: number;
  readonly bytes: number;
}

/** A server that sends a list of pieces as credit allows, and a client that finishes them in order. */
test("the server is never given more than the window, and is never left without when something is finished", () => {
  const piece = fc.record({ records: fc.integer({ min: 1, max: 40 }), bytes: fc.integer({ min: 0, max: 400 }) });
  const steps = fc.array(fc.constantFrom("finish", "send", "reconnect"), { maxLength: 200 });
  fc.assert(
    fc.property(piece, fc.array(piece, { minLength: 1, maxLength: 60 }), steps, (size, pieces, moves) => {
      const window = { records: size.records + 10, bytes: size.bytes + 50 };
      const credit = new CreditWindow(window);
      let granted = credit.open({ records: 1000, bytes: 100_000 }, false);
      const unsent = [...pieces];
      const held: Piece[] = [];
      const topUp = (): void => {
        const due = credit.due();
        if (due === undefined) return;
        expect(due.records + due.bytes).toBeGreaterThan(0);
        granted = { records: granted.records + due.records, bytes: granted.bytes + due.bytes };
        const most = held.length === 0 ? (unsent[0] ?? { records: 0, bytes: 0 }) : { records: 0, bytes: 0 };
        const sum = (of: "records" | "bytes"): number => held.reduce((total, one) => total + one[of], granted[of]);
        expect(sum("records")).toBeLessThanOrEqual(Math.max(window.records, most.records));
        expect(sum("bytes")).toBeLessThanOrEqual(Math.max(window.bytes, most.bytes));
      };
      const send = (): boolean => {
        const [next] = unsent;
        if (next === undefined) return false;
        if (next.records > granted.records || next.bytes > granted.bytes) {
          credit.starve(next);
          topUp();
          if (next.records > granted.records || next.bytes > granted.bytes) return false;
        }
        unsent.shift();
        granted = { records: granted.records - next.records, bytes: granted.bytes - next.bytes };
        credit.spend(next.records, next.bytes);
        held.push(next);
        topUp();
        return true;
      };
      const finish = (): boolean => {
        const first = held.shift();
        if (first === undefined) return false;
        credit.finish(first.records, first.bytes);
        topUp();
        return true;
      };
      for (const move of moves) {
        if (move === "send") send();
        else if (move === "finish") finish();
        else {
          credit.close();
          granted = credit.open({ records: 1000, bytes: 100_000 }, false);
        }
      }
      // Whoever goes on finishing gets everything.
      while (send() || finish());
      expect(unsent).toEqual([]);
      expect([credit.heldRecords, credit.heldBytes]).toEqual([0, 0]);
    }),
  );
});

test("the server's limits cut the window", () => {
  const credit = new CreditWindow({ records: 100, bytes: 1000 });
  expect(credit.open({ records: 10, bytes: 5000 }, false)).toEqual({ records: 10, bytes: 1000 });
  expect(credit.open({ records: 1000, bytes: 50 }, true)).toEqual({ records: 0, bytes: 0 });
  expect(credit.due()).toEqual({ records: 100, bytes: 50 });
});

test("what is on its way already is not granted twice", () => {
  const credit = new CreditWindow({ records: 100, bytes: 1000 });
  credit.open({ records: 1000, bytes: 5000 }, false);
  credit.starve({ records: 1, bytes: 900 });
  expect(credit.due()).toBeUndefined();
});

test("a piece that waits for credit is not forgotten when smaller ones come", () => {
  const window = new CreditWindow({ records: 100, bytes: 1000 });
  window.open({ records: 1000, bytes: 5000 }, false);
  window.spend(1, 10);
  window.starve({ records: 1, bytes: 3000 });
  window.spend(1, 10);
  window.finish(1, 10);
  expect(window.due()).toBeUndefined();
  window.finish(1, 10);
  expect(window.due()).toEqual({ records: 2, bytes: 3000 - 980 });
});
