/** Which inputs do not fit their schema and why, in words that never repeat what was submitted. */
import type { ValidationError } from 'elysia';
import type { FieldError } from '../kernel/errors.ts';

const MOST = 20;

interface SchemaLike {
  enum?: unknown;
  anyOf?: unknown;
  type?: unknown;
  format?: unknown;
  title?: unknown;
  description?: unknown;
}

/** One entry of Elysia's list. Its `summary` may quote the input, and `value` is the input: only whether it is there is looked at. */
interface Entry {
  path: string;
  message: string;
  value?: unknown;
  schema?: SchemaLike;
}

/** TypeBox reports a missing property twice: that it is required and that its value is of the wrong type. */
export function fieldErrorsOf(error: ValidationError): FieldError[] {
  const found = new Map<string, string>();
  for (const entry of error.all as Entry[]) {
    const path = pathOf(error, entry);
    if (!found.has(path)) found.set(path, messageOf(entry));
    if (found.size >= MOST) break;
  }
  return [...found].map(([path, message]) => ({ path, message }));
}

/** A value that was decoded from text is reported by itself, as the root: its schema's title is where it stood. */
function pathOf({ type }: ValidationError, { path, schema }: Entry): string {
  return type === 'property' && path === '' && typeof schema?.title === 'string' ? `/${schema.title}` : path;
}

function messageOf({ message, schema, value }: Entry): string {
  if (value === undefined) return 'Required';
  if (Array.isArray(schema?.enum)) return `Expected one of: ${schema.enum.join(', ')}`;
  // TypeBox says of a union that it is one, and of a kind of our own what it is called.
  if (Array.isArray(schema?.anyOf)) return `Expected ${namesOf(schema.anyOf).join(' or ')}`;
  if (message.startsWith('Expected kind') && typeof schema?.description === 'string')
    return `Expected ${schema.description}`;
  return message;
}

function namesOf(options: SchemaLike[]): string[] {
  return [...new Set(options.map(({ format, type }) => String(format ?? type)))];
}
