/** Java's .properties syntax, corner by corner; expectations are what `java.util.Properties.load` gives. */
import { expect, test } from "bun:test";
import { parseProperties } from "../../src/config/Properties.ts";

test.each([
  ["a=b", { a: "b" }],
  ["a:b", { a: "b" }],
  ["a b", { a: "b" }],
  ["  a \t=  b c  ", { a: "b c  " }],
  ["a", { a: "" }],
  ["a=", { a: "" }],
  ["a==b", { a: "=b" }],
  ["# a=b\n! c=d\n\n   \ne=f", { e: "f" }],
  ["a=b\r\nc=d\re=f", { a: "b", c: "d", e: "f" }],
  ["a=b,\\\n   c,\\\r\n\td", { a: "b,c,d" }],
  ["a=b\\\\\nc=d", { a: "b\\", c: "d" }],
  ["a=b\\", { a: "b" }],
  ["a=1\\\n# not a comment", { a: "1# not a comment" }],
  ["a\\ b\\:c\\=d=e", { "a b:c=d": "e" }],
  ["a=\\t\\n\\u00e9\\z", { a: "\t\n\u00e9z" }],
  ["a=1\na=2", { a: "2" }],
  ["=b", { "": "b" }],
  ["path=C:\\\\kafka", { path: "C:\\kafka" }],
  ["\uFEFFa=b", { a: "b" }],
])("%j", (text, expected) => {
  expect(Object.fromEntries(parseProperties(text))).toEqual(expected as Record<string, string>);
});
