import { expect, test } from "bun:test";
import { CommittedBytes } from "../../src/partition/CommittedBytes.ts";

test("a batch counts when the high watermark reaches its end, once; the total never goes back, not even over a cut", () => {
  const bytes = new CommittedBytes();
  bytes.append(2, 100);
  bytes.append(5, 10);
  bytes.commit(1);
  expect(bytes.total).toBe(0);
  bytes.commit(4);
  bytes.commit(4);
  expect(bytes.total).toBe(100);
  bytes.cutTo(4);
  bytes.append(6, 1);
  bytes.commit(5);
  expect(bytes.total).toBe(100);
  bytes.commit(6);
  expect(bytes.total).toBe(111);
});
