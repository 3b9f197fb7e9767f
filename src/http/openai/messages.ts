/** What a client says in its `messages` or `input`, in the words of a turn: instructions, what was said before, the question. */
import { type Static, Type } from '@sinclair/typebox';
import type { HistoryMessage } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { oneOf } from '../models/one-of.ts';
import { optional } from './parameters.ts';

const ContentPart = Type.Object({
  type: Type.String(),
  text: optional(Type.String()),
  refusal: optional(Type.String()),
});
export const Content = Type.Union([Type.String(), Type.Array(ContentPart)]);
export type Content = Static<typeof Content>;

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'function'] as const;

export const Message = Type.Object({ role: oneOf(ROLES), content: optional(Content), name: optional(Type.String()) });
export type Message = Static<typeof Message>;

/** What a turn takes of them. */
export interface Said {
  question: string;
  /** Oldest first. */
  earlier: HistoryMessage[];
  instructions: string | undefined;
}

/** A parameter, or a part of one, that cannot be had here. */
export function unsupported(path: string, message: string): AppError {
  return new AppError('invalid_request', 'The request asks for something that is not supported here.', {
    errors: [{ path, message }],
  });
}

const TEXTS: ReadonlySet<string> = new Set(['text', 'input_text', 'output_text', 'refusal']);

/** The text of a message's content. Throws `invalid_request` for anything but text. */
function textOf(content: Content, path: string): string {
  if (typeof content === 'string') return content;
  return content
    .map(({ type, text, refusal }, at) => {
      if (!TEXTS.has(type)) throw unsupported(`${path}/${at}/type`, `${type} is not supported: only text is`);
      return text ?? refusal ?? '';
    })
    .join('\n');
}

/** Throws `invalid_request` where they do not end with the user's question, or hold what no turn takes. */
export function saidIn(messages: readonly Message[], param: string): Said {
  const instructions: string[] = [];
  const spoken: HistoryMessage[] = [];
  for (const [at, { role, content }] of messages.entries()) {
    const path = `${param}/${at}`;
    if (role === 'tool' || role === 'function') throw unsupported(`${path}/role`, 'Tools are not supported');
    const text = content === undefined || content === null ? '' : textOf(content, `${path}/content`);
    if (role === 'system' || role === 'developer') instructions.push(text);
    else if (text.trim() !== '') spoken.push({ role, content: text });
  }
  const last = spoken.pop();
  if (last?.role !== 'user') {
    throw new AppError('invalid_request', 'There is no question.', {
      errors: [{ path: param, message: 'The last message must be the user’s, and say something' }],
    });
  }
  const wishes = instructions.filter((text) => text.trim() !== '').join('\n\n');
  return { question: last.content, earlier: spoken, instructions: wishes === '' ? undefined : wishes };
}
