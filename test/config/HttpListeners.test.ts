import { expect, test } from "bun:test";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { resolveHttpListeners } from "../../src/config/HttpListeners.ts";

const resolve = (listeners?: string) =>
  resolveHttpListeners(BrokerConfig.of(listeners === undefined ? {} : { "http.listeners": listeners }));

test("the built-in one is a convenience, what is configured is meant", () => {
  expect(resolve()).toEqual({ endpoints: [{ host: "127.0.0.1", port: 8080 }], configured: false, errors: [] });
  expect(resolve("")).toEqual({ endpoints: [], configured: true, errors: [] });
  expect(resolve("http://:80, http://[::1]:8081,http://10.0.0.1:0/").endpoints).toEqual([
    { host: "0.0.0.0", port: 80 },
    { host: "::1", port: 8081 },
    { host: "10.0.0.1", port: 0 },
  ]);
});

test.each([
  ["https://:8443", "Invalid value https://:8443 for configuration http.listeners: expected http://host:port"],
  ["127.0.0.1:8080", "Invalid value 127.0.0.1:8080 for configuration http.listeners: expected http://host:port"],
  ["http://a:70000", "Invalid value http://a:70000 for configuration http.listeners: expected http://host:port"],
])("%s is refused in one line", (listeners, error) => {
  expect(resolve(listeners)).toEqual({ endpoints: [], configured: true, errors: [error] });
});
