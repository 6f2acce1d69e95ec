import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type AnsweredPartition, type FetchPartition, FetchSessions } from "../../src/api/FetchSession.ts";
import { Errors } from "../../src/protocol/Errors.ts";

const partition = (index: number, fetchOffset = 0): FetchPartition => ({
  topic: "t",
  topicId: "AAAAAAAAAAAAAAAAAAAAAA",
  partition: index,
  fetchOffset,
  maxBytes: 1000,
  currentLeaderEpoch: -1,
  lastFetchedEpoch: -1,
});

const setup = (slots = 3) => {
  const time = { now: 0 };
  let next = 100;
  const sessions = new FetchSessions(
    slots,
    1000,
    () => time.now,
    () => next++,
  );
  return { sessions, time };
};

const create = (sessions: FetchSessions, count: number) => {
  const session = sessions.create(
    false,
    Array.from({ length: count }, (_, index) => partition(index)),
  );
  if (session === undefined) throw new Error("no room");
  return session;
};

describe("FetchSessions (KIP-227, #32)", () => {
  test("epoch 0 asks for a session and closes the given one, -1 asks for none and closes it too", () => {
    const { sessions } = setup();
    const first = create(sessions, 1);
    expect(sessions.choose(first.id, 0, false, [partition(0)], [])).toEqual({ kind: "full" });
    expect(sessions.size).toBe(0);
    const second = create(sessions, 1);
    expect(sessions.choose(second.id, -1, false, [partition(0)], [])).toEqual({ kind: "sessionless" });
    expect(sessions.size).toBe(0);
  });

  test("an unknown id, a wrong epoch and a change of topic naming are refused, and the session survives", () => {
    const { sessions } = setup();
    const { id } = create(sessions, 1);
    expect(sessions.choose(0, 1, false, [], [])).toEqual({ kind: "error", error: Errors.FETCH_SESSION_ID_NOT_FOUND });
    expect(sessions.choose(id, 2, false, [], [])).toEqual({ kind: "error", error: Errors.INVALID_FETCH_SESSION_EPOCH });
    expect(sessions.choose(id, 1, true, [], [])).toEqual({ kind: "error", error: Errors.FETCH_SESSION_TOPIC_ID_ERROR });
    expect(sessions.choose(id, 1, false, [], [])).toMatchObject({ kind: "incremental" });
    expect(sessions.choose(id, 2, false, [], [])).toMatchObject({ kind: "incremental" });
  });

  test("a session whose last partition is forgotten ends", () => {
    const { sessions } = setup();
    const { id } = create(sessions, 1);
    expect(sessions.choose(id, 1, false, [], [partition(0)])).toEqual({ kind: "sessionless" });
    expect(sessions.size).toBe(0);
  });

  test("a partition in error is repeated in every answer and told anew when the error has gone", () => {
    const session = create(setup().sessions, 1);
    const fine: AnsweredPartition = {
      errorCode: Errors.NONE,
      highWatermark: 5,
      logStartOffset: 0,
      hasRecords: false,
      diverging: false,
    };
    const broken = { ...fine, errorCode: Errors.KAFKA_STORAGE_ERROR, highWatermark: -1, logStartOffset: -1 };
    expect(session.mustAnswer(partition(0), fine)).toBe(true);
    expect(session.mustAnswer(partition(0), fine)).toBe(false);
    expect(session.mustAnswer(partition(0), broken)).toBe(true);
    expect(session.mustAnswer(partition(0), broken)).toBe(true);
    expect(session.mustAnswer(partition(0), fine)).toBe(true);
    expect(session.mustAnswer(partition(0), fine)).toBe(false);
  });

  test("a partition that returned records is served last the next time", () => {
    const session = create(setup().sessions, 3);
    const answer = { errorCode: Errors.NONE, highWatermark: 9, logStartOffset: 0, hasRecords: true, diverging: false };
    session.mustAnswer(partition(0), answer);
    expect(session.requested().map((each) => each.partition)).toEqual([1, 2, 0]);
  });

  test("eviction: the longest unused, then the smallest old one for a larger newcomer, else no session", () => {
    const { sessions, time } = setup(2);
    const small = create(sessions, 1);
    const large = create(sessions, 5);
    expect(sessions.create(false, [partition(0), partition(1)])).toBeUndefined();
    time.now = 900;
    sessions.choose(small.id, 1, false, [], []);
    sessions.choose(large.id, 1, false, [], []);
    time.now = 1500;
    const newcomer = sessions.create(false, [partition(0), partition(1)]);
    expect(newcomer).toBeDefined();
    expect(sessions.choose(small.id, 2, false, [], [])).toMatchObject({ error: Errors.FETCH_SESSION_ID_NOT_FOUND });
    time.now = 2600;
    expect(sessions.create(false, [partition(0)])).toBeDefined();
    expect(sessions.choose(large.id, 2, false, [], [])).toMatchObject({ error: Errors.FETCH_SESSION_ID_NOT_FOUND });
  });

  test("W6: the incremental answers, folded, equal what a full fetch would say at every step", () => {
    const change = fc.record({
      index: fc.integer({ min: 0, max: 3 }),
      highWatermark: fc.integer({ min: 0, max: 3 }),
      logStartOffset: fc.integer({ min: 0, max: 2 }),
      errorCode: fc.constantFrom(Errors.NONE, Errors.KAFKA_STORAGE_ERROR),
    });
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 3 }), { maxLength: 12 }), (rounds) => {
        const session = create(setup().sessions, 4);
        const truth = new Map<number, AnsweredPartition>();
        const folded = new Map<number, AnsweredPartition>();
        for (let index = 0; index < 4; index += 1) {
          truth.set(index, {
            errorCode: Errors.NONE,
            highWatermark: 0,
            logStartOffset: 0,
            hasRecords: false,
            diverging: false,
          });
        }
        for (const round of [[], ...rounds]) {
          for (const { index, highWatermark, logStartOffset, errorCode } of round) {
            const failed = errorCode !== Errors.NONE;
            truth.set(index, {
              errorCode,
              highWatermark: failed ? -1 : highWatermark,
              logStartOffset: failed ? -1 : logStartOffset,
              hasRecords: false,
              diverging: false,
            });
          }
          for (const request of session.requested()) {
            const answer = truth.get(request.partition)!;
            if (session.mustAnswer(request, answer)) folded.set(request.partition, answer);
          }
          for (const [index, answer] of truth) expect(folded.get(index)).toEqual(answer);
        }
      }),
    );
  });
});
