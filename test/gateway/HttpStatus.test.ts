import { expect, test } from "bun:test";
import { httpStatus } from "../../src/gateway/HttpStatus.ts";
import { Errors, isRetriable } from "../../src/protocol/Errors.ts";

test("every error of Kafka's is one of the client's or of the server's, and only what passes asks to come again", () => {
  for (const [name, code] of Object.entries(Errors)) {
    if (code === Errors.NONE) continue;
    const status = httpStatus(code);
    expect([name, status >= 400 && status < 600]).toEqual([name, true]);
    if (status === 503 || status === 429) expect([name, isRetriable(code)]).toEqual([name, true]);
  }
});

test.each([
  [Errors.UNKNOWN_TOPIC_OR_PARTITION, 404],
  [Errors.OFFSET_OUT_OF_RANGE, 416],
  [Errors.MESSAGE_TOO_LARGE, 413],
  [Errors.TOPIC_ALREADY_EXISTS, 409],
  [Errors.TOPIC_AUTHORIZATION_FAILED, 403],
  [Errors.INVALID_REQUEST, 400],
  [Errors.NOT_ENOUGH_REPLICAS, 503],
  [Errors.KAFKA_STORAGE_ERROR, 503],
  [Errors.REQUEST_TIMED_OUT, 504],
  [Errors.UNKNOWN_SERVER_ERROR, 500],
])("%d is %d", (code, status) => {
  expect(httpStatus(code)).toBe(status);
});
