/**
 * The HTTP API described, as an OpenAPI 3.1 document and as a page to read, both made from the table of verbs and the few
 * routes beside it. The page is plain HTML without a script: it loads nothing from anywhere.
 */
import { error, someOffset } from "./AnswerShapes.ts";
import { partitionIndex } from "./ClientFrames.ts";
import { produceBody } from "./HttpProduce.ts";
import { fetched } from "./RecordVerbs.ts";
import { either, isMap, type JsonSchema, list, struct } from "./Shape.ts";
import { verbs } from "./Verbs.ts";

export interface HttpOperation {
  readonly method: "GET" | "POST" | "DELETE";
  /** With `{name}` for parts that are fields. */
  readonly path: string;
  readonly summary: string;
  /** Fields of the path, of the query for GET and DELETE, of the body for POST. */
  readonly fields: JsonSchema;
  readonly answer: JsonSchema;
  readonly headers?: Readonly<Record<string, string>>;
}

const isolation = { enum: ["read_committed", "read_uncommitted"] };

/** Of each record, in the order of the request. */
export const produced = either(
  struct({ partition: partitionIndex, error }),
  struct({ partition: partitionIndex, offset: someOffset }),
);

const EVENTS: JsonSchema = {
  type: "string",
  description: "Events `records`, `outOfRange`, `diverged`, `partitionError` and `goaway`, each with JSON as its data.",
};

/** What is no verb: its form is HTTP's own. */
export const httpOperations: ReadonlyArray<HttpOperation> = [
  {
    method: "POST",
    path: "/v1/topics/{topic}/records",
    summary:
      "Produces records; each has its outcome, in order: {partition, offset} or {partition, error}. 207 when some failed.",
    fields: produceBody.schema,
    answer: struct({ records: list(produced) }).schema,
    headers: {
      "Idempotency-Key":
        "1 … 255 characters. The request is written once, however often it comes within producer.id.expiration.ms (a day) of its records' time, restarts included; another body under the same key is refused with 422. All its records go to one partition.",
    },
  },
  {
    method: "GET",
    path: "/v1/topics/{topic}/partitions/{partition}/records",
    summary: "Records of one partition from a place on, waiting up to maxWaitMs for the first (long poll).",
    fields: {
      type: "object",
      properties: {
        from: { type: "string", description: "earliest (default), latest, or an offset." },
        timestamp: { type: "integer", description: "Instead of from: the first record at or after this time." },
        leaderEpoch: { type: "integer", description: "With topicId: of a position, to be checked." },
        topicId: { type: "string" },
        isolation,
        maxBytes: { type: "integer" },
        maxWaitMs: { type: "integer", maximum: 60_000 },
      },
    },
    answer: fetched.schema,
  },
  {
    method: "GET",
    path: "/v1/events",
    summary:
      "Server-sent events: records of all partitions of some topics on one connection, each event with the position of all of them as its id. Last-Event-ID (or lastEventId) goes on behind it. Browsers open six connections to a host: one stream for all topics, not one for each.",
    fields: {
      type: "object",
      properties: {
        topics: { type: "array", items: { type: "string" } },
        from: { type: "string", description: "earliest, latest (default), or milliseconds since 1970." },
        isolation,
        lastEventId: { type: "string", description: "As the header, for a first connection." },
      },
      required: ["topics"],
    },
    answer: EVENTS,
  },
];

const operations = (): ReadonlyArray<HttpOperation> => [
  ...verbs.map(({ method, path, summary, body, answer, writes = [] }) => {
    const properties = Object.fromEntries(propertiesOf(body.schema).filter(([name]) => !writes.includes(name)));
    return { method, path, summary, fields: { ...body.schema, properties }, answer: answer.schema };
  }),
  ...httpOperations,
];

const pathFields = (path: string): string[] => [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);

const propertiesOf = (schema: JsonSchema): ReadonlyArray<readonly [string, JsonSchema]> =>
  isMap(schema.properties) ? (Object.entries(schema.properties) as Array<[string, JsonSchema]>) : [];

const ERROR_SCHEMA: JsonSchema = struct({ error }).schema;

const operationOf = ({ method, path, summary, fields, answer, headers = {} }: HttpOperation): JsonSchema => {
  const inPath = pathFields(path);
  const required = Array.isArray(fields.required) ? (fields.required as string[]) : [];
  const others = propertiesOf(fields).filter(([name]) => !inPath.includes(name));
  const schemaOf = (name: string): JsonSchema =>
    propertiesOf(fields).find(([each]) => each === name)?.[1] ?? { type: "string" };
  const parameters = [
    ...inPath.map((name) => ({ name, in: "path", required: true, schema: schemaOf(name), style: "simple" })),
    ...(method === "POST"
      ? []
      : others.map(([name, schema]) => ({
          name,
          in: "query",
          required: required.includes(name),
          schema,
          style: "form",
          explode: false,
        }))),
    ...Object.entries(headers).map(([name, description]) => ({
      name,
      in: "header",
      required: false,
      description,
      schema: { type: "string" },
    })),
  ];
  const content = (schema: JsonSchema) => ({ "application/json": { schema }, "application/msgpack": { schema } });
  const isEvents = answer === EVENTS;
  const answered = isEvents ? { "text/event-stream": { schema: EVENTS } } : content(answer);
  const body = {
    type: "object",
    properties: Object.fromEntries(others),
    required: required.filter((name) => !inPath.includes(name)),
  };
  return {
    summary,
    parameters,
    ...(method === "POST" ? { requestBody: { required: true, content: content(body) } } : {}),
    responses: {
      200: { description: "Done.", content: answered },
      ...(isEvents ? {} : { 207: { description: "Some entries have an error.", content: answered } }),
      default: { description: "Kafka's error, with a fitting status.", content: content(ERROR_SCHEMA) },
    },
  };
};

export const openApiDocument = (version: string): JsonSchema => {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations()) {
    const path = (paths[operation.path] ??= {});
    path[operation.method.toLowerCase()] = operationOf(operation);
  }
  for (const check of ["live", "ready"]) {
    paths[`/health/${check}`] = {
      get: { summary: `Whether the broker is ${check}.`, responses: { 200: { description: check } } },
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Odradek",
      version,
      description:
        'Bodies are JSON or MessagePack of the same schema (Content-Type, Accept). Bytes are, in JSON, a string when they are UTF-8 text and {"base64": "…"} otherwise. Writes need Content-Type application/json or application/msgpack. An error of one topic, partition or group stands in its entry.',
    },
    paths,
  };
};

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** For people. */
export const openApiPage = (version: string): string => {
  const sections = operations().map(({ method, path, summary, fields, headers = {} }) => {
    const rows = [
      ...propertiesOf(fields).map(([name, schema]) => [name, JSON.stringify(schema)]),
      ...Object.entries(headers).map(([name, meaning]) => [`${name} (header)`, meaning]),
    ];
    const table = rows
      .map(([name, meaning]) => `<tr><td><code>${escaped(name!)}</code></td><td>${escaped(meaning!)}</td></tr>`)
      .join("");
    return `<h2><code>${method} ${escaped(path)}</code></h2><p>${escaped(summary)}</p><table>${table}</table>`;
  });
  const description = openApiDocument(version).info as { readonly description: string };
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Odradek ${escaped(version)}: HTTP API</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}td{padding:.2rem .8rem .2rem 0;vertical-align:top}h2{font-size:1rem;margin-top:2rem}</style>
<h1>Odradek ${escaped(version)}: HTTP API</h1><p>${escaped(description.description)} Machine-readable: <a href="/openapi/json">/openapi/json</a>.</p>
${sections.join("\n")}</html>\n`;
};
