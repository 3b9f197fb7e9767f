/**
 * What passes between the worker and an extraction child. The child has parsed a stranger's file, so nothing it says is
 * taken on trust: messages are small and checked, and the text travels through a file whose size is looked at first.
 */
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { ExtractedDocument } from '../contracts/index.ts';
import { EXTRACT_FAILURE_CODES } from './extract-error.ts';

export const JobMessage = Type.Object({
  path: Type.String(),
  mediaType: Type.String(),
  filename: Type.String(),
  outputChars: Type.Integer({ minimum: 1 }),
  /** Where the child leaves the document: a line of JSON (`ResultHead`), then the text in UTF-8. */
  resultPath: Type.String(),
});
export type JobMessage = Static<typeof JobMessage>;

export const ReplyMessage = Type.Union([
  Type.Object({ type: Type.Literal('done') }),
  /** The document is at fault. */
  Type.Object({
    type: Type.Literal('refused'),
    code: Type.Union(EXTRACT_FAILURE_CODES.map((code) => Type.Literal(code))),
    message: Type.String({ maxLength: 1000 }),
  }),
  /** A parser threw something it should not have. */
  Type.Object({ type: Type.Literal('crashed'), message: Type.String({ maxLength: 1000 }) }),
  /** The file could not be read or the result not be written: our fault, and it may pass. */
  Type.Object({ type: Type.Literal('fault'), message: Type.String({ maxLength: 1000 }) }),
]);
export type ReplyMessage = Static<typeof ReplyMessage>;

const Span = { start: Type.Integer({ minimum: 0 }), end: Type.Integer({ minimum: 0 }) };
const ResultHead = Type.Object({
  title: Type.Union([Type.String({ maxLength: 2000 }), Type.Null()]),
  pages: Type.Array(Type.Object({ ...Span, page: Type.Integer({ minimum: 1 }) })),
  headings: Type.Array(Type.Object({ ...Span, level: Type.Integer({ minimum: 1, maximum: 6 }), title: Type.String() })),
});

export function encodeResult({ text, title, pages, headings }: ExtractedDocument): string {
  return `${JSON.stringify({ title: title?.slice(0, 1000).toWellFormed() ?? null, pages, headings })}\n${text}`;
}

/** Throws when the child left anything but a document: spans must lie in the text, in order. */
export function decodeResult(encoded: string): ExtractedDocument {
  const newline = encoded.indexOf('\n');
  const head: unknown = JSON.parse(encoded.slice(0, newline));
  if (!Value.Check(ResultHead, head)) throw new Error('the child left a result of another shape');
  const text = encoded.slice(newline + 1);
  if (!inOrder(head.pages, text.length) || !inOrder(head.headings, text.length)) {
    throw new Error('the child left spans that are not in the text');
  }
  return { text, ...head };
}

function inOrder(spans: readonly { start: number; end: number }[], length: number): boolean {
  let last = 0;
  for (const { start, end } of spans) {
    if (start < last || end < start || end > length) return false;
    last = end;
  }
  return true;
}

export function isReply(message: unknown): message is ReplyMessage {
  return Value.Check(ReplyMessage, message);
}

export function isJob(message: unknown): message is JobMessage {
  return Value.Check(JobMessage, message);
}
