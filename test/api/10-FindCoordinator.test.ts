import { describe, expect, test } from "bun:test";
import { FindCoordinator } from "../../src/api/10-FindCoordinator.ts";
import { topicId } from "../metadata/Cluster.ts";
import { Handling } from "./Handling.ts";

const shareKey = `group:${topicId(1)}:0`;

const MALFORMED =
  "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details.";

describe("FindCoordinator", () => {
  test("an unknown key type comes with Kafka's text, from v4 on at every key", async () => {
    const old = await new Handling().call(10, FindCoordinator, 3, { key: "g", keyType: 3 });
    expect(old.errorMessage).toBe(MALFORMED);
    const batched = await new Handling().call(10, FindCoordinator, 4, { coordinatorKeys: ["g"], keyType: 3 });
    expect(batched.coordinators[0]?.errorMessage).toBe(MALFORMED);
    const share = await new Handling().call(10, FindCoordinator, 6, { coordinatorKeys: ["g"], keyType: 2 });
    expect(share.coordinators[0]).toMatchObject({ errorCode: 42, errorMessage: "" });
  });

  test("up to v3 one key: 15, no node, and from v1 a message", async () => {
    for (let version = 0; version <= 3; version++) {
      const response = await new Handling().call(10, FindCoordinator, version, { key: "g" });
      expect([response.errorCode, response.nodeId, response.host, response.port]).toEqual([15, -1, "", -1]);
      expect(response.errorMessage).toBe(version === 0 ? "" : "The coordinator is not available.");
      expect(response.coordinators).toEqual([]);
    }
  });

  test("v4+: every key is answered by itself", async () => {
    for (let version = 4; version <= 6; version++) {
      const response = await new Handling().call(10, FindCoordinator, version, {
        keyType: 1,
        coordinatorKeys: ["a", "b"],
      });
      const refused = { nodeId: -1, host: "", port: -1, errorCode: 15, errorMessage: "" };
      expect(response.coordinators).toEqual([
        { key: "a", ...refused },
        { key: "b", ...refused },
      ]);
    }
  });

  test("key types 3, 9, -1: 42; type 2 below v6 or with a key that is no share partition's: 42", async () => {
    const errorOf = async (keyType: number, key: string, version: number) => {
      const named = version < 4 ? { key } : { coordinatorKeys: [key] };
      const response = await new Handling().call(10, FindCoordinator, version, { keyType, ...named });
      return version < 4 ? response.errorCode : response.coordinators[0]?.errorCode;
    };
    for (const version of [1, 3, 4, 6]) {
      for (const keyType of [3, 9, -1]) expect(await errorOf(keyType, "g", version)).toBe(42);
      expect(await errorOf(2, shareKey, version)).toBe(version === 6 ? 15 : 42);
    }
    for (const key of ["g", "a:b", `g:${topicId(1)}:x`, `:${topicId(1)}:0`, "g:x:0"])
      expect(await errorOf(2, key, 6)).toBe(42);
    expect(await errorOf(2, `a:b:${topicId(1)}:0`, 6)).toBe(15);
  });
});
