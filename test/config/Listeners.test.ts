/** Listeners as endpoints: what is opened, what clients are told, what is refused. */
import { expect, test } from "bun:test";
import { BrokerConfig } from "../../src/config/BrokerConfig.ts";
import { resolveListeners } from "../../src/config/Listeners.ts";

const resolve = (settings: Record<string, string>) => resolveListeners(BrokerConfig.of(settings));

test("by default one plaintext listener on loopback, advertised as the address a client used", () => {
  expect(resolve({})).toEqual({
    listeners: [
      {
        name: "PLAINTEXT",
        protocol: "PLAINTEXT",
        bind: { host: "127.0.0.1", port: 9092 },
        advertised: undefined,
      },
    ],
    controllerListeners: [],
    notes: [],
    errors: [],
  });
});

test("empty hosts, IPv6, own names, port 0 and advertised addresses", () => {
  const { listeners, errors } = resolve({
    listeners: "PLAINTEXT://:0,inside://[::1]:9093,OUT://0.0.0.0:0",
    "advertised.listeners": "INSIDE://broker.local:19093",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INSIDE:plaintext,OUT:PLAINTEXT",
  });
  expect(errors).toEqual([]);
  expect(listeners.map(({ name, bind, advertised }) => [name, bind.host, bind.port, advertised?.host])).toEqual([
    ["PLAINTEXT", "0.0.0.0", 0, undefined],
    ["INSIDE", "::1", 9093, "broker.local"],
    ["OUT", "0.0.0.0", 0, undefined],
  ]);
});

test("a controller's listener is noted and not opened", () => {
  const { listeners, controllerListeners, notes, errors } = resolve({
    listeners: "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
    "advertised.listeners": "PLAINTEXT://localhost:32768,BROKER://172.17.0.2:9093",
    "listener.security.protocol.map": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "BROKER",
  });
  expect(errors).toEqual([]);
  expect(controllerListeners).toEqual(["CONTROLLER"]);
  expect(notes).toHaveLength(1);
  expect(listeners.map(({ name, advertised }) => [name, advertised?.port])).toEqual([
    ["PLAINTEXT", 32768],
    ["BROKER", 9093],
  ]);
});

test.each([
  [{ listeners: "PLAINTEXT:127.0.0.1:9092" }, "Unable to parse"],
  [{ listeners: "PLAINTEXT://127.0.0.1" }, "Unable to parse"],
  [{ listeners: "PLAINTEXT://h:70000" }, "Unable to parse"],
  [{ listeners: "PLAINTEXT://:1,PLAINTEXT://:2" }, "each name only once, PLAINTEXT"],
  [
    {
      listeners: "PLAINTEXT://:1,B://:1",
      "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,B:PLAINTEXT",
    },
    "each address only once",
  ],
  [{ listeners: "CONTROLLER://:9094" }, "at least one listener"],
  [{ listeners: "INSIDE://:9092" }, "No security protocol defined for listener INSIDE"],
  [{ listeners: "SSL://:9093" }, "asks for SSL, which Odradek does not speak yet (allowed: PLAINTEXT)"],
  [{ "listener.security.protocol.map": "PLAINTEXT:TCP" }, "allowed protocols"],
  [{ "advertised.listeners": "PLAINTEXT://0.0.0.0:9092" }, "a client cannot connect to 0.0.0.0"],
  [{ "advertised.listeners": "OTHER://a:1" }, "OTHER is none of listeners (PLAINTEXT)"],
  [{ "advertised.listeners": "PLAINTEXT://a:1,PLAINTEXT://b:2" }, "each name only once"],
  [{ "inter.broker.listener.name": "OTHER" }, "none of listeners"],
])("%j is refused in one clear line", (settings, message) => {
  const { listeners, errors } = resolve(settings as Record<string, string>);
  expect(listeners).toEqual([]);
  expect(errors.join("\n")).toContain(message);
  for (const error of errors) expect(error).not.toContain("\n");
});
