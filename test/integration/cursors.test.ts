/** Cursors that no list gave out are refused, whatever is in them; those that it gave out are taken back. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createSourceProviders } from '../../src/ingest/sources/providers.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { createSources } from '../../src/services/sources.ts';
import { createHttpApp } from '../support/http-app.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await createRig();
}, 60_000);
afterAll(() => rig.close());

const refused = { kind: 'invalid_request', errors: [{ path: 'cursor' }] };

describe('a cursor', () => {
  test('that is beyond every number of chunks, messages and lines of a log is refused', async () => {
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, linesOf(3));
    await rig.deliver(who, 'ingest', receipt.task_id);
    const { id } = await rig.as(who, () => rig.conversations.create({}));
    const lists = {
      chunks: (cursor: string) => rig.documents.chunks(receipt.document_id, { limit: 1, cursor }),
      messages: (cursor: string) => rig.conversations.messages(id, { limit: 1, cursor }),
      log: (cursor: string) => rig.tasks.log(receipt.task_id, { limit: 1, cursor }),
    };
    for (const [name, list] of Object.entries(lists)) {
      for (const cursor of ['9007199254740992', '-9007199254740992', '1e300', 'Infinity', '0x1p3']) {
        const outcome = await rig.as(who, () => list(cursor)).catch((error: unknown) => error);
        expect({ name, cursor, outcome }).toMatchObject({ name, cursor, outcome: refused });
      }
    }
    for (const cursor of ['2147483648', '99999999999', '-2147483649']) {
      for (const name of ['chunks', 'messages'] as const) {
        const outcome = await rig.as(who, () => lists[name](cursor)).catch((error: unknown) => error);
        expect({ name, cursor, outcome }).toMatchObject({ name, cursor, outcome: refused });
      }
    }
    expect((await rig.as(who, () => lists.chunks('2147483647'))).items).toEqual([]);
    expect((await rig.as(who, () => lists.log('9007199254740991'))).items).toEqual([]);
  });

  test('of a source’s items may be as long as their names, and holds nothing that no name has', async () => {
    const who = await rig.newTenant();
    const providers = createSourceProviders({ allowPrivate: true, clock: systemClock, folders: [] });
    const { database, blobs, documents } = rig;
    const base = { database, blobs, documents, providers, sealer: undefined, maxUploadBytes: 1_000 };
    const sources = createSources({ ...base, ids: systemIds });
    const source = await rig.as(who, () => sources.create({ kind: 'calendar', file: true }, 'owner'));
    const names = ['a', 'b', 'c'].map((letter) => letter.repeat(2_000));
    await rig.as(who, () =>
      database.tenant(async (sql) => {
        for (const key of names) await sql`insert into source_items (source_id, key) values (${source.id}, ${key})`;
      }),
    );
    const { app, token } = createHttpApp({
      sources: { items: (id, page) => rig.as(who, () => sources.items(id, page)) },
    });
    const page = async (cursor: string | null) => {
      const query = cursor === null ? '' : `&cursor=${cursor}`;
      const request = new Request(`http://localhost/api/v1/sources/${source.id}/items?limit=1${query}`, {
        headers: { authorization: `Bearer ${await token()}` },
      });
      const answer = await app.handle(request);
      return {
        status: answer.status,
        ...((await answer.json()) as { items: { key: string }[]; next_cursor: string | null }),
      };
    };
    const seen: string[] = [];
    for (let cursor: string | null = null, more = true; more; more = cursor !== null) {
      const { items, next_cursor } = await page(cursor);
      seen.push(...items.map(({ key }) => key));
      cursor = next_cursor;
    }
    expect(seen).toEqual(names);
    expect(await page('AA')).toMatchObject({ status: 422, code: 'invalid_request', errors: [{ path: 'cursor' }] });
  });
});
