/** How a route describes itself to Swagger: what it answers, with examples, and every error that its caller may see. */
import type { TSchema } from '@sinclair/typebox';
import type { DocumentDecoration } from 'elysia';
import { ERROR_KINDS, type ErrorKind } from '../kernel/errors.ts';

export interface Answer {
  description: string;
  /** Absent: the answer has no body. */
  schema?: TSchema;
  example?: unknown;
  /** `application/json` unless given. */
  contentType?: string;
}

export interface Description {
  tag:
    | 'auth'
    | 'members'
    | 'documents'
    | 'tasks'
    | 'sources'
    | 'search'
    | 'conversations'
    | 'chat'
    | 'realtime'
    | 'privacy'
    | 'administration'
    | 'webhooks'
    | 'operations';
  summary: string;
  description?: string;
  answers: Record<number, Answer>;
  /** Kinds of error beside those that any route may give. */
  errors?: readonly ErrorKind[];
  /** No credentials are needed. */
  open?: boolean;
  /** For a body that no schema checks. */
  requestBody?: DocumentDecoration['requestBody'];
  parameters?: DocumentDecoration['parameters'];
}

type Responses = NonNullable<DocumentDecoration['responses']>;

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';

const DETAILS: Partial<Record<ErrorKind, string>> = {
  unauthenticated: 'Credentials are needed here.',
  forbidden: 'The role viewer may not do this.',
  not_found: 'There is no such resource.',
  malformed: 'The request body is not valid JSON.',
  invalid_request: 'The request does not fit its schema.',
  queue_full: 'Too many tasks of this tenant are unfinished.',
  internal: 'Something went wrong on our side.',
};

function codeOf(kind: ErrorKind): string {
  return kind === 'malformed' ? 'invalid_request' : kind;
}

function problemOf(kind: ErrorKind) {
  const { title, status } = ERROR_KINDS[kind];
  const errors =
    kind === 'invalid_request'
      ? { errors: [{ path: '/limit', message: 'Expected integer to be less or equal to 200' }] }
      : {};
  return {
    type: 'about:blank',
    title,
    status,
    code: codeOf(kind),
    detail: DETAILS[kind] ?? `${title}.`,
    trace_id: TRACE_ID,
    ...errors,
  };
}

function errorAnswers(kinds: readonly ErrorKind[]): Responses {
  const answers: Responses = {};
  for (const [status, group] of Map.groupBy(kinds, (kind) => ERROR_KINDS[kind].status)) {
    const retry = status === 429 || status === 503;
    answers[status] = {
      description: group.map((kind) => ERROR_KINDS[kind].title).join(', or '),
      ...(retry && { headers: { 'Retry-After': { description: 'Seconds', schema: { type: 'integer' } } } }),
      content: {
        'application/problem+json': {
          schema: { $ref: '#/components/schemas/Problem' },
          examples: Object.fromEntries(group.map((kind) => [kind, { value: problemOf(kind) }])),
        },
      },
    };
  }
  return answers;
}

function answer({ description, schema, example, contentType = 'application/json' }: Answer): Responses[string] {
  if (!schema) return { description };
  return { description, content: { [contentType]: { schema, ...(example !== undefined && { example }) } } };
}

export function describe({
  tag,
  summary,
  description,
  answers,
  errors = [],
  open,
  requestBody,
  parameters,
}: Description): DocumentDecoration {
  const kinds: ErrorKind[] = [...(open ? [] : (['unauthenticated', 'forbidden'] as const)), ...errors, 'internal'];
  return {
    tags: [tag],
    summary,
    ...(description !== undefined && { description }),
    ...(open && { security: [] }),
    ...(requestBody && { requestBody }),
    ...(parameters && { parameters }),
    responses: {
      ...Object.fromEntries(Object.entries(answers).map(([status, one]) => [status, answer(one)])),
      ...errorAnswers([...new Set(kinds)]),
    },
  };
}
