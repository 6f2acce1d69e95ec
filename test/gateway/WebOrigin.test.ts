import { describe, expect, test } from "bun:test";
import { isForeign, type WebRequest, webRefusal, webRules } from "../../src/gateway/WebOrigin.ts";

const loopback = { host: "127.0.0.1", port: 8080 };
const everywhere = { host: "0.0.0.0", port: 8080 };
const rules = webRules(["https://App.example", "http://localhost:3000"], ["kafka.example", "other.example:8443"]);

const request: WebRequest = {
  method: "GET",
  host: "localhost:8080",
  origin: null,
  contentType: null,
  site: null,
  mode: null,
};
const status = (fields: Partial<WebRequest>, listener = loopback, by = rules): number =>
  webRefusal({ ...request, ...fields }, listener, by)?.status ?? 200;

describe("Host", () => {
  test.each([
    ["localhost:8080", 200],
    ["LOCALHOST:1234", 200],
    ["127.0.0.1", 200],
    ["127.8.9.1:8080", 200],
    ["[::1]:8080", 200],
    ["kafka.example", 200],
    ["kafka.example:9999", 200],
    ["other.example:8443", 200],
    ["other.example", 421],
    ["other.example:80", 421],
    ["evil.example:8080", 421],
    ["localhost.evil.example:8080", 421],
    ["evil-localhost", 421],
    ["127.0.0.1.evil.example", 421],
    ["10.0.0.7:8080", 421],
    ["notkafka.example", 421],
    ["kafka.example.evil", 421],
    ["kafka.example@evil.example", 421],
    ["kafka.example:x", 421],
    ["", 421],
    [null, 421],
  ])("%s on a loopback listener: %d", (host, expected) => {
    expect(status({ host })).toBe(expected);
  });

  test("a listener on every interface answers to addresses, but to no name that it was not given", () => {
    const origin = "https://app.example";
    expect(status({ host: "10.0.0.7:8080", origin }, everywhere)).toBe(200);
    expect(status({ host: "[fe80::1]:8080", origin }, everywhere)).toBe(200);
    expect(status({ host: "evil.example:8080", origin }, everywhere)).toBe(421);
  });

  test("a listener on one address answers to it", () => {
    const listener = { host: "10.0.0.7", port: 8080 };
    const own = { host: "10.0.0.7:8080", origin: "http://10.0.0.7:8080" };
    expect(status(own, listener)).toBe(200);
    expect(status({ host: "10.0.0.8:8080", origin: "http://10.0.0.8:8080" }, listener)).toBe(421);
  });
});

describe("Origin", () => {
  test.each([
    ["http://localhost:8080", 200],
    ["HTTP://LOCALHOST:8080", 200],
    ["https://app.example", 200],
    ["http://localhost:3000", 200],
    ["https://localhost:8080", 403],
    ["http://localhost", 403],
    ["http://localhost:80800", 403],
    ["http://app.example", 403],
    ["https://app.example.evil", 403],
    ["https://evil.app.example", 403],
    ["https://app.example:8443", 403],
    ["null", 403],
    ["", 403],
  ])("%s: %d", (origin, expected) => {
    expect(status({ origin })).toBe(expected);
  });

  test("none is accepted on loopback, elsewhere only when that is configured", () => {
    expect(status({})).toBe(200);
    expect(status({ host: "10.0.0.7:8080" }, everywhere)).toBe(403);
    expect(status({ host: "localhost:8080" }, everywhere)).toBe(403);
    expect(status({ host: "10.0.0.7:8080" }, everywhere, webRules(["none"], []))).toBe(200);
  });

  test("a page of another site cannot ask without one, but a link to here may be followed", () => {
    expect(status({ site: "cross-site", mode: "no-cors" })).toBe(403);
    expect(status({ site: "same-site", mode: "no-cors" })).toBe(403);
    expect(status({ site: "cross-site", mode: "navigate", method: "POST", contentType: "application/json" })).toBe(403);
    expect(status({ site: "cross-site", mode: "navigate" })).toBe(200);
    expect(status({ site: "same-origin", mode: "cors" })).toBe(200);
    expect(status({ site: "none", mode: "navigate" })).toBe(200);
  });

  test("the own origin needs no CORS headers, an allowed one does", () => {
    expect(isForeign("http://localhost:8080", "localhost:8080")).toBe(false);
    expect(isForeign(null, "localhost:8080")).toBe(false);
    expect(isForeign("http://localhost:3000", "localhost:8080")).toBe(true);
  });
});

describe("a write", () => {
  test.each([
    ["application/json", 200],
    ["Application/JSON; charset=utf-8", 200],
    ["application/msgpack", 200],
    ["application/x-msgpack", 200],
    ["text/plain", 415],
    ["text/plain;application/json", 415],
    ["application/x-www-form-urlencoded", 415],
    ["multipart/form-data", 415],
    ["application/jsonp", 415],
    [null, 415],
  ])("of %s: %d", (contentType, expected) => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) expect(status({ method, contentType })).toBe(expected);
  });
});
