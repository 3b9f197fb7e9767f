/** What the client sends is what the server takes: checked by the compiler against the schemas that the routes run. */
import { expect, test } from 'bun:test';
import type { Static } from '@sinclair/typebox';
import type * as client from '../../../src/client/types.ts';
import type { LoginBody, RegisterBody } from '../../../src/http/models/auth.ts';
import type { ChatAnswer, ChatBody, NewMessage } from '../../../src/http/models/chat.ts';
import type { DocumentListQuery } from '../../../src/http/models/documents.ts';
import type { ApiKeyBody, InviteBody } from '../../../src/http/models/members.ts';
import type { SearchAnswer, SearchBody } from '../../../src/http/models/search.ts';

/** Every field of one is a field of the other, of the same type; the server may give defaults to what is left out. */
type Fits<Sent, Taken> = Sent extends Partial<Taken> ? (keyof Taken extends keyof Sent ? true : false) : false;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
/** By their keys too: what is optional may be missing on either side. */
type Equals<A, B> = [Same<A, B>, Same<keyof A, keyof B>] extends [true, true] ? true : false;

const proofs: true[] = [
  true satisfies Equals<client.LoginRequest, Static<typeof LoginBody>>,
  true satisfies Equals<client.RegisterRequest, Static<typeof RegisterBody>>,
  true satisfies Equals<client.InviteRequest, Static<typeof InviteBody>>,
  true satisfies Equals<client.ApiKeyRequest, Static<typeof ApiKeyBody>>,
  true satisfies Equals<client.SendRequest, NewMessage>,
  true satisfies Equals<client.ChatRequest, ChatBody>,
  true satisfies Equals<client.ChatAnswer, ChatAnswer>,
  true satisfies Equals<client.SearchAnswer, Static<typeof SearchAnswer>>,
  true satisfies Fits<client.SearchQuery, Static<typeof SearchBody>>,
  true satisfies Fits<client.DocumentQuery, DocumentListQuery>,
];

test('requests and answers of the client have the types of the schemas that the server checks', () => {
  expect(proofs.every(Boolean)).toBe(true);
});
