/**
 * Answers of the HTTP API: a value or an error with its status, in the form that the client prefers. What must stay true:
 * every error has one form; no answer is kept by a cache or guessed at by a browser.
 */
import type { Refused } from "../src/gateway/Caller.ts";
import { prefersMessagePack, writeBody } from "../src/gateway/HttpBody.ts";
import { httpStatus } from "../src/gateway/HttpStatus.ts";
import type { WireError } from "../src/gateway/Messages.ts";

/** What a request is answered with: its own sort of success, or an error. */
export interface Answer {
  readonly status: number;
  readonly value: unknown;
}

/** A browser page that does not know the path's answer must not guess, and no cache keeps it. */
export const ANSWER_HEADERS = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** The client has gone: what is answered reaches nobody. */
export const NOBODY_LISTENS: Answer = { status: 499, value: {} };

export const errorAnswer = (error: WireError, recordErrors?: Refused["recordErrors"]): Answer => ({
  status: httpStatus(error.code),
  value: recordErrors === undefined ? { error } : { error, recordErrors },
});

/** Of an answer whose entries may have failed: 200 when none has, its status when the only one has, else 207. */
export const statusOf = (value: unknown): number => {
  const [entries] = Object.values(value as Readonly<Record<string, unknown>>);
  if (!Array.isArray(entries)) return 200;
  const errors = entries.flatMap((entry: { readonly error?: WireError }) => entry.error ?? []);
  if (errors.length === 0) return 200;
  return entries.length === 1 ? httpStatus(errors[0]!.code) : 207;
};

export const responseOf = (request: Request, { status, value }: Answer): Response => {
  const { bytes, contentType } = writeBody(value, prefersMessagePack(request.headers.get("accept")));
  const retry = status === 429 || status === 503 ? { "retry-after": "1" } : {};
  const headers = { ...ANSWER_HEADERS, ...retry, "content-type": contentType };
  return new Response(bytes as string | Uint8Array<ArrayBuffer>, { status, headers });
};

export const refusal = (request: Request, status: number, error: WireError): Response =>
  responseOf(request, { status, value: { error } });
