/**
 * What passes between the worker and an extraction child. The child has parsed a stranger's file, so nothing it says is
 * taken on trust: messages are small and checked, and the document travels through files that are looked at first
 * (`extract-result.ts`).
 */
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { EXTRACT_FAILURE_CODES } from './extract-error.ts';

export const JobMessage = Type.Object({
  path: Type.String(),
  mediaType: Type.String(),
  filename: Type.String(),
  outputChars: Type.Integer({ minimum: 1 }),
  heldChars: Type.Integer({ minimum: 1 }),
  /** An empty folder, where the child leaves the document. */
  folder: Type.String(),
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

/** Not the end of a job: text in pictures is being recognised, for which there is a time limit of its own. */
const NoticeMessage = Type.Object({ type: Type.Literal('recognising') });

export function isReply(message: unknown): message is ReplyMessage {
  return Value.Check(ReplyMessage, message);
}

export function isNotice(message: unknown): boolean {
  return Value.Check(NoticeMessage, message);
}

export function isJob(message: unknown): message is JobMessage {
  return Value.Check(JobMessage, message);
}
