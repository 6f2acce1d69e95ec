import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  anyBytes,
  fromText,
  prefersMessagePack,
  readBody,
  toJson,
  wholeBody,
  writeBody,
} from "../../src/gateway/HttpBody.ts";
import { ShapeError } from "../../src/gateway/Shape.ts";

const utf8 = new TextEncoder();

describe("bytes", () => {
  test("JSON out equals JSON in, whatever the bytes, and so does MessagePack", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (value) => {
        const bytes = new Uint8Array(value);
        const json = readBody(utf8.encode(toJson({ value: bytes })), "application/json");
        expect(anyBytes.parse(json.value, "value")).toEqual(bytes);
        const packed = writeBody({ value: bytes }, true);
        const unpacked = readBody(packed.bytes as Uint8Array, packed.contentType);
        expect(anyBytes.parse(unpacked.value, "value")).toEqual(bytes);
      }),
    );
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), (text) => {
        expect(toJson(utf8.encode(text))).toBe(JSON.stringify(text));
      }),
    );
  });

  test("that are no text are base64, null stays null", () => {
    expect(toJson([new Uint8Array([0xff]), new Uint8Array([]), null])).toBe('[{"base64":"/w=="},"",null]');
    expect(toJson(utf8.encode("\ufeffx"))).toBe('"\ufeffx"');
    expect(anyBytes.parse(undefined, "v")).toBeNull();
    for (const wrong of [1, true, [], {}, { base64: 1 }, { base64: "a" }, { base64: "=a==" }, { base64: "a b=" }]) {
      expect(() => anyBytes.parse(wrong, "v")).toThrow(ShapeError);
    }
  });
});

describe("bodies", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["application/json", "", "nothing"],
    ["application/json", "{", "the body: not valid JSON"],
    ["application/json", new Uint8Array([0x22, 0xff, 0x22]), "the body: not valid JSON"],
    ["application/json", "null", "the body: expected a map, got null"],
    ["application/json", '"x"', 'the body: expected a map, got "x"'],
    ["application/msgpack", new Uint8Array([0x90]), "the body: not a MessagePack map"],
    ["application/x-msgpack", new Uint8Array([0x81, 0xa1, 0x61]), "the body: cut short"],
  ])("of %s: %p", (type, body, message) => {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    const read = (): string => {
      try {
        return Object.keys(readBody(bytes, type)).length === 0 ? "nothing" : "something";
      } catch (error) {
        if (error instanceof ShapeError) return error.message;
        throw error;
      }
    };
    expect(read()).toBe(message);
  });

  test("are answered as the client prefers", () => {
    expect([null, "*/*", "application/json", "text/html, application/json;q=0.9"].map(prefersMessagePack)).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(
      ["application/msgpack", "application/x-msgpack;q=1", "application/vnd.msgpack, */*"].map(prefersMessagePack),
    ).toEqual([true, true, true]);
  });
});

test("fields of a query become what their schema says, and what they cannot become is left for the shape to refuse", () => {
  const schema = {
    properties: {
      count: { type: "integer" },
      flag: { type: "boolean" },
      names: { type: "array", items: { type: "string" } },
      places: { type: "array", items: { type: "object" } },
      text: { type: "string" },
    },
  };
  const fields = (query: string) => fromText(new URLSearchParams(query), schema);
  expect(fields("count=12&flag&names=a,b&text=1&places=[{%22a%22:1}]&other=x")).toEqual({
    count: 12,
    flag: true,
    names: ["a", "b"],
    text: "1",
    places: [{ a: 1 }],
    other: "x",
  });
  expect(fields("count=1e3&flag=yes&names=")).toEqual({ count: "1e3", flag: "yes", names: [] });
  expect(() => fields("places=[")).toThrow(ShapeError);
});

test("a body is whole or given up in time, and then nothing of it is held", async () => {
  const utf8 = new TextEncoder();
  const cases: Array<{ readonly ends: boolean; gone: boolean; cancelled: boolean; due: (() => void) | undefined }> = [];
  const reading = [true, false].map((ends) => {
    const state: (typeof cases)[number] = { ends, gone: false, cancelled: false, due: undefined };
    cases.push(state);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of ["{", '"a":1', "}"]) controller.enqueue(utf8.encode(piece));
        if (ends) controller.close();
      },
      cancel: () => void (state.gone = true),
    });
    return wholeBody(body, (ms, task) => {
      expect(ms).toBe(60_000);
      state.due = task;
      return () => void (state.cancelled = true);
    });
  });
  expect(new TextDecoder().decode(await reading[0]!)).toBe('{"a":1}');
  cases[1]!.due!();
  await expect(reading[1]!).rejects.toThrow("the body: not complete in 60 s");
  expect(cases.map(({ gone, cancelled }) => [gone, cancelled])).toEqual([
    [false, true],
    [true, true],
  ]);
  expect(await wholeBody(null, () => () => {})).toEqual(new Uint8Array(0));
});
