import { expect, test } from "bun:test";
import { ByteCredit, type CreditHolder } from "../../actors/ByteCredit.ts";

class Holder implements CreditHolder {
  woken = 0;
  creditAvailable(): void {
    this.woken += 1;
  }
}

test("the first to exceed the credit may overdraw, the others wait and are woken in order when it is given back", () => {
  const credit = new ByteCredit(100);
  const [a, b, c] = [new Holder(), new Holder(), new Holder()];
  expect(credit.take(a, 90)).toBe(true);
  expect(credit.take(b, 20)).toBe(true);
  expect(credit.take(c, 20)).toBe(false);
  expect(credit.take(a, 20)).toBe(false);
  expect(credit.take(b, 500)).toBe(true);
  credit.give(520);
  expect([a.woken, b.woken, c.woken]).toEqual([0, 0, 0]);
  credit.give(40);
  expect([a.woken, b.woken, c.woken]).toEqual([1, 0, 1]);
  expect(credit.usedBytes).toBe(90);
});

test("when the overdrawing holder leaves, the one that waited longest may overdraw", () => {
  const credit = new ByteCredit(10);
  const [a, b, c] = [new Holder(), new Holder(), new Holder()];
  credit.take(a, 20);
  credit.take(b, 20);
  credit.take(c, 20);
  credit.leave(a);
  expect([b.woken, c.woken]).toEqual([1, 0]);
  expect(credit.take(b, 50)).toBe(true);
  expect(credit.take(c, 1)).toBe(false);
  credit.frameFinished(b);
  expect(c.woken).toBe(1);
});
