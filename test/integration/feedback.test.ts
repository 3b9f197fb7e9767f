/** What users say of answers, on a real PostgreSQL. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { Principal } from '../../src/contracts/index.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
let admin: postgres.Sql;
let who: Principal;
let conversation: string;
let question: string;
let answer: string;

beforeAll(async () => {
  rig = await createRig();
  admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
});
afterAll(async () => {
  await admin.end({ timeout: 5 });
  await rig.close();
});
beforeEach(async () => {
  who = await rig.newTenant();
  const receipt = await rig.as(who, () => rig.chat.send({ content: 'Is anything there?' }));
  await rig.deliver(who, 'chat', receipt.turn_id);
  conversation = receipt.conversation_id;
  [question = '', answer = ''] = (await messages()).map(({ id }) => id);
});

const messages = async () => (await rig.as(who, () => rig.conversations.messages(conversation, { limit: 10 }))).items;
const ratings = async () => (await messages()).map(({ rating }) => rating);
const rate = (id: string, feedback: { rating: 1 | -1; comment?: string }, by = who) =>
  rig.as(by, () => rig.conversations.rate(id, feedback));
const comment = async () =>
  (await admin`select feedback_comment, rated_at from messages where id = ${answer}`)[0]?.['feedback_comment'];

test('a rating is shown with the answer, and a later one replaces it with its comment', async () => {
  expect(await ratings()).toEqual([null, null]);
  await rate(answer, { rating: 1, comment: ' Just right. ' });
  expect(await ratings()).toEqual([null, 1]);
  expect(await comment()).toBe('Just right.');
  await rate(answer, { rating: -1 });
  expect(await ratings()).toEqual([null, -1]);
  expect(await comment()).toBeNull();
});

test('a question is not rated, and nor is what is not there', async () => {
  await expect(rate(question, { rating: 1 })).rejects.toMatchObject({ kind: 'conflict' });
  await expect(rate(crypto.randomUUID(), { rating: 1 })).rejects.toMatchObject({ kind: 'not_found' });
  expect(await ratings()).toEqual([null, null]);
});

test('an answer is rated by whom it was given to: by nobody else in the tenant, and nobody outside', async () => {
  for (const other of [await rig.addUser(who.tenantId), await rig.newTenant()]) {
    for (const id of [question, answer])
      await expect(rate(id, { rating: -1 }, other)).rejects.toMatchObject({ kind: 'not_found' });
  }
  expect(await ratings()).toEqual([null, null]);
});

test('many ratings at once leave one of them whole', async () => {
  await Promise.all(
    Array.from({ length: 8 }, (_, i) => rate(answer, { rating: i % 2 ? 1 : -1, comment: i % 2 ? 'good' : 'bad' })),
  );
  const [, rating] = await ratings();
  expect(await comment()).toBe(rating === 1 ? 'good' : 'bad');
});
