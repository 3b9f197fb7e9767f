/**
 * DreamHub's peer: the least that a `Bun.serve` needs to answer the same two calls with the same database work. The same
 * statements (they are imported, so they cannot drift apart) run in a transaction that sets role, tenant and user, over a
 * pool of the same size; an upload's bytes are hashed, written, synced and renamed into place, as durably as DreamHub does.
 *
 * What it leaves out is what is measured: proving who is calling (tenant and user come as plain headers), routing,
 * validation, limits, streaming (it holds the form whole), the type from the bytes, errors, logs, metrics, trace context,
 * the event and the nudge after an accept.
 */
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type Sql } from '../../src/db/database.ts';
import { acceptUpload } from '../../src/repositories/documents-accept.ts';
import { getTask } from '../../src/repositories/tasks.ts';

const { DATABASE_URL = '', BLOB_FOLDER = '', POOL = '20' } = process.env;

const sql = connect(DATABASE_URL, { max: Number(POOL), embedded: false });
const staging = join(BLOB_FOLDER, 'staging');
const originals = join(BLOB_FOLDER, 'originals');
await mkdir(staging, { recursive: true });
await mkdir(originals, { recursive: true });

async function inTenant<T>(request: Request, fn: (tx: Sql) => Promise<T>): Promise<T> {
  const tenant = request.headers.get('x-tenant-id') ?? '';
  const user = request.headers.get('x-user-id') ?? '';
  const result = await sql.begin(async (transaction) => {
    const tx = transaction as unknown as Sql;
    // Pipelined with the first statement, as in DreamHub.
    const entered = tx`select set_config('role', 'dreamhub_tenant', true), set_config('app.tenant_id', ${tenant}, true),
      set_config('app.user_id', ${user}, true)`.execute();
    const value = await fn(tx);
    await entered;
    return { value };
  });
  return (result as { value: T }).value;
}

async function syncAndClose(handle: FileHandle): Promise<void> {
  await handle.sync();
  await handle.close();
}

async function keep(id: string, bytes: Uint8Array): Promise<void> {
  const staged = join(staging, id);
  const file = await open(staged, 'wx', 0o600);
  await file.write(bytes);
  await syncAndClose(file);
  await rename(staged, join(originals, id));
  await syncAndClose(await open(originals, 'r'));
}

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  routes: {
    '/api/v1/tasks/:id': {
      GET: async (request) => {
        const task = await inTenant(request, (tx) => getTask(tx, request.params.id));
        return task ? Response.json(task) : new Response(null, { status: 404 });
      },
    },
    '/api/v1/upload': {
      POST: async (request) => {
        const file = (await request.formData()).get('file');
        if (!(file instanceof Blob)) return new Response(null, { status: 422 });
        const bytes = new Uint8Array(await file.arrayBuffer());
        const documentId = Bun.randomUUIDv7();
        const taskId = Bun.randomUUIDv7();
        await keep(documentId, bytes);
        const admitted = await inTenant(request, async (tx) => {
          const accepted = await acceptUpload(tx, {
            documentId,
            taskId,
            title: 'notes',
            filename: 'notes.txt',
            mediaType: 'text/plain',
            size: bytes.length,
            sha256: Bun.SHA256.hash(bytes, 'hex'),
            origin: { item: null, sourceId: null, parentId: null },
            sourceType: 'upload',
            visibility: 'tenant',
            metadata: {},
            chunking: null,
            priority: 5,
            traceparent: '',
            limits: { maxOutstanding: 10_000_000, maxOutstandingBytes: Number.MAX_SAFE_INTEGER },
          });
          return accepted.admitted;
        });
        if (!admitted) return new Response(null, { status: 429 });
        return Response.json(
          { document_id: documentId, task_id: taskId, status: 'queued', duplicate: false },
          { status: 202 },
        );
      },
    },
  },
});

process.on('disconnect', () => process.exit(0));
process.send?.({ port: server.port });
