import { expect, test } from "bun:test";
import { streamUpgrade } from "../../src/gateway/StreamUpgrade.ts";

const token = "header.päyload.sig";
const encoded = Buffer.from(token).toString("base64url");

test.each<[string | null, string | null, object]>([
  [null, null, { ok: true }],
  ["odradek.v1", null, { ok: true, protocol: "odradek.v1" }],
  ["odradek.v9, odradek.v1", null, { ok: true, protocol: "odradek.v1" }],
  ["odradek.v9", null, { ok: false, message: "no known subprotocol offered; known: odradek.v1" }],
  [`odradek.v1, odradek.bearer.${encoded}`, null, { ok: true, protocol: "odradek.v1", token }],
  [`odradek.bearer.${encoded}`, null, { ok: true, protocol: `odradek.bearer.${encoded}`, token }],
  ["odradek.v1, odradek.bearer.", null, { ok: false, message: expect.stringContaining("base64url") }],
  ["odradek.v1, odradek.bearer.a+b", null, { ok: false, message: expect.stringContaining("base64url") }],
  ["odradek.v1", "Bearer abc", { ok: true, protocol: "odradek.v1", token: "abc" }],
  [null, "bearer abc", { ok: true, token: "abc" }],
  [null, "Basic abc", { ok: true }],
])("subprotocols %p, authorization %p", (offered, authorization, expected) => {
  expect(streamUpgrade(offered, authorization)).toEqual(expected as never);
});
