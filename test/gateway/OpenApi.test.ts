/** The OpenAPI document against the verbs it is made of. That it is valid OpenAPI 3.1 a validator of its own has said. */
import { expect, test } from "bun:test";
import { openApiDocument } from "../../src/gateway/OpenApi.ts";
import { verbs } from "../../src/gateway/Verbs.ts";

interface Operation {
  readonly parameters: ReadonlyArray<{ readonly name: string; readonly in: string; readonly required: boolean }>;
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Fields }>> };
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Fields }>> }>
  >;
}
interface Fields {
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: ReadonlyArray<string>;
}

const paths = openApiDocument("1").paths as Readonly<Record<string, Readonly<Record<string, Operation>>>>;

test("every verb is there, with each of its fields in one place and what it answers", () => {
  for (const { name, method, path, body, answer, writes = [] } of verbs) {
    const operation = paths[path]![method.toLowerCase()]!;
    const inBody = Object.keys(operation.requestBody?.content["application/json"]?.schema.properties ?? {});
    const places = [...operation.parameters.map((parameter) => parameter.name), ...inBody];
    const fields = Object.keys((body.schema as Fields).properties ?? {}).filter((field) => !writes.includes(field));
    expect([name, places.sort()]).toEqual([name, fields.sort()]);
    for (const mediaType of ["application/json", "application/msgpack"])
      expect(operation.responses[200]!.content![mediaType]!.schema).toEqual(answer.schema as Fields);
    expect(Object.keys((answer.schema as Fields).properties!)).toHaveLength(1);
  }
});

test("what a path names is a parameter of it, and required", () => {
  for (const [path, operations] of Object.entries(paths)) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    for (const { parameters = [] } of Object.values(operations)) {
      const declared = parameters.filter((parameter) => parameter.in === "path");
      expect([path, declared.map(({ name }) => name)]).toEqual([path, named]);
      expect(declared.every(({ required }) => required)).toBe(true);
    }
  }
});
