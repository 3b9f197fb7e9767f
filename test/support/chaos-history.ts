/**
 * Compares what was promised with what is there: after a run everything accepted has an end, everything ready is exactly
 * what its input makes, nothing was done twice, nothing is anybody else's, and nothing is left over.
 */
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type ExpectedChunk, expectedChunks } from './chaos-documents.ts';
import type { Installation } from './chaos-installation.ts';
import type { History, Tenant } from './chaos-run.ts';

/** A batch of embeddings: what one attempt may buy again. */
const BATCH = 128;

export interface Verdict {
  /** Broken promises; none where all is well. */
  violations: string[];
  figures: Record<string, number>;
}

interface DocumentRow {
  id: string;
  status: string;
  live_version: number | null;
  error_code: string | null;
  task_id: string;
  chunks: number | null;
}

interface TaskRow {
  id: string;
  document_id: string;
  status: string;
  attempt: number;
  retry_count: number;
  document_version: number;
  error_code: string | null;
}

interface ChunkRow extends ExpectedChunk {
  document_id: string;
  version: number;
  vectors: number;
}

interface TurnRow {
  id: string;
  status: string;
  attempt: number;
  text: string;
  answer_id: string;
  message_id: string;
  error_code: string | null;
  sources: { document_id: string }[];
}

interface MessageRow {
  id: string;
  conversation_id: string;
  position: number;
  role: string;
  content: string;
  turn_id: string;
}

/** What a document's last task says about the document. */
const DOCUMENT_STATUS: Readonly<Record<string, string>> = {
  succeeded: 'ready',
  failed: 'failed',
  dead: 'failed',
  cancelled: 'failed',
};

async function rowsOf({ sql }: Installation, { id }: Tenant) {
  const documents = await sql<DocumentRow[]>`
    select id, status, live_version, error_code, task_id, chunks from documents where tenant_id = ${id}`;
  const tasks = await sql<TaskRow[]>`
    select id, document_id, status, attempt, retry_count, document_version, error_code from tasks where tenant_id = ${id} order by id`;
  const chunks = await sql<ChunkRow[]>`
    select c.document_id, c.version, c.ordinal, c.text, c.start_offset as start, c.end_offset as "end",
      (select count(*)::int from chunk_vectors v where v.tenant_id = c.tenant_id and v.chunk_id = c.id) as vectors
    from chunks c where c.tenant_id = ${id} order by c.document_id, c.version, c.ordinal`;
  const turns = await sql<TurnRow[]>`
    select id, status, attempt, text, answer_id, message_id, error_code, sources from turns where tenant_id = ${id}`;
  const messages = await sql<MessageRow[]>`
    select id, conversation_id, position, role, content, turn_id from messages where tenant_id = ${id} order by conversation_id, position`;
  const [counts] = await sql<{ loose: number; outstanding: number; bytes: number }[]>`
    select (select count(*)::int from chunk_vectors v where v.tenant_id = ${id}
        and not exists (select from chunks c where c.tenant_id = v.tenant_id and c.id = v.chunk_id)) as loose,
      outstanding, outstanding_bytes::int as bytes from tenant_load where tenant_id = ${id}`;
  return { documents, tasks, chunks, turns, messages, counts: counts ?? { loose: -1, outstanding: -1, bytes: -1 } };
}

type Rows = Awaited<ReturnType<typeof rowsOf>>;

/** Content of a chunk without its identity, to compare whole multisets. */
const shapeOf = ({ ordinal, text, start, end }: ExpectedChunk) => `${ordinal} ${start}-${end} ${text}`;

async function checkDocuments(
  tenant: Tenant,
  { documents, tasks, chunks }: Rows,
  fail: (what: string) => void,
): Promise<void> {
  const inputOfDocument = new Map(tenant.uploads.map(({ documentId, input }) => [documentId, input]));
  const chunksOf = Map.groupBy(chunks, ({ document_id }) => document_id);
  const byId = new Map(documents.map((row) => [row.id, row]));

  for (const { documentId, input } of tenant.uploads) {
    const isThere = byId.has(documentId);
    if (tenant.deleted.has(documentId)) {
      if (isThere || chunksOf.has(documentId) || tasks.some(({ document_id }) => document_id === documentId)) {
        fail(`${input.mark} was deleted and is still there`);
      }
    } else if (!isThere) fail(`${input.mark} was accepted as ${documentId} and is lost`);
  }
  for (const [mark, own] of Map.groupBy(documents, ({ id }) => inputOfDocument.get(id)?.mark)) {
    if (mark === undefined) fail(`nobody was told of the documents ${own.map(({ id }) => id).join()}`);
    else if (own.length > 1) fail(`${mark} is there ${own.length} times`);
  }
  for (const document of documents) {
    const input = inputOfDocument.get(document.id);
    const own = chunksOf.get(document.id) ?? [];
    const task = tasks.find(({ id }) => id === document.task_id);
    if (!input || !task) {
      fail(`the document ${document.id} has no ${input ? 'task' : 'input'}`);
      continue;
    }
    const label = `${input.mark} (${document.status}, task ${task.status}, attempt ${task.attempt})`;
    if (DOCUMENT_STATUS[task.status] !== document.status) fail(`${label}: document and task disagree`);
    if (own.some(({ text }) => !text.includes(input.mark))) fail(`${label} has foreign text`);
    if (own.some(({ vectors }) => vectors !== 1)) fail(`${label} has chunks with other than one vector`);
    if (new Set(own.map(({ version, ordinal }) => `${version} ${ordinal}`)).size !== own.length)
      fail(`${label} has a chunk twice`);
    if (document.status === 'ready') {
      const expected = (await expectedChunks(input)).map(shapeOf);
      const live = own.filter(({ version }) => version === document.live_version).map(shapeOf);
      if (live.join('\n') !== expected.join('\n'))
        fail(`${label} has ${live.length} chunks that are not its ${expected.length}`);
      if (live.length !== own.length)
        fail(`${label} has ${own.length - live.length} chunks of versions that are not live`);
      if (document.chunks !== expected.length) fail(`${label} says that it has ${document.chunks} chunks`);
      if (input.isBroken) fail(`${label} cannot be read and is ready`);
    } else if (document.error_code === null) fail(`${label} failed without a reason`);
    const wasCancelled = tenant.cancelAsked.has(task.id);
    if (task.status === 'cancelled' && !wasCancelled) fail(`${label} was cancelled by nobody`);
    if (task.status === 'failed' && !input.isBroken) fail(`${label} can be read and failed: ${task.error_code}`);
    if (input.isBroken && task.status !== 'failed' && task.status !== 'dead' && !wasCancelled)
      fail(`${label} cannot be read`);
  }
}

/** Where what a reader has departs from what is stored. */
function differenceOf(read: string, stored: string): string {
  let at = 0;
  while (at < read.length && read[at] === stored[at]) at += 1;
  const around = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 20), at + 40));
  return `its reader has ${read.length} characters of ${stored.length}, from ${at} on ${around(read)} and not ${around(stored)}`;
}

async function checkTurns(
  tenant: Tenant,
  { turns, messages, documents }: Rows,
  fail: (what: string) => void,
): Promise<void> {
  const byId = new Map(turns.map((row) => [row.id, row]));
  for (const { turnId, question, view: viewed, stopAsked } of tenant.turns) {
    const turn = byId.get(turnId);
    const view = await viewed;
    if (!turn) {
      fail(`${question} was accepted and is lost`);
      continue;
    }
    const label = `${question} (${turn.status}, attempt ${turn.attempt}, ${view.resets} resets)`;
    for (const problem of view.problems) fail(`${label}: ${problem}`);
    if (view.status !== turn.status)
      fail(`${label} ended as ${view.status} for its reader, who was told ${view.tail.join(', ')}`);
    if (turn.status === 'cancelled' && !stopAsked) fail(`${label} was cancelled by nobody`);
    // Only the provider may fail a question: what is ours is tried again.
    if (turn.status === 'failed' && turn.error_code !== 'provider_unavailable')
      fail(`${label} failed: ${turn.error_code}`);
    const questions = messages.filter(({ turn_id, role }) => turn_id === turnId && role === 'user');
    const answers = messages.filter(({ turn_id, role }) => turn_id === turnId && role === 'assistant');
    if (questions.length !== 1) fail(`${label} has ${questions.length} questions`);
    if (answers.length !== (turn.status === 'completed' ? 1 : 0)) fail(`${label} has ${answers.length} answers`);
    if (turn.status === 'completed') {
      // A stream that hung and was let go ends early, but as the provider's own answer.
      const isAnswer = turn.text.includes(question) || `An answer to ${question}`.startsWith(turn.text);
      if (!isAnswer) fail(`${label} answers another question: ${turn.text.slice(0, 80)}`);
      if (answers[0]?.content !== turn.text || answers[0].id !== turn.answer_id)
        fail(`${label}: its message is not its text`);
      if (view.text !== turn.text) fail(`${label}: ${differenceOf(view.text, turn.text)}; ${view.tail.join(', ')}`);
      if (view.finalText !== undefined && view.finalText !== turn.text)
        fail(`${label}: the last event says something else`);
    }
    const foreign = turn.sources.filter(
      ({ document_id: id }) => !documents.some((row) => row.id === id) && !tenant.deleted.has(id),
    );
    if (foreign.length > 0) fail(`${label} cites what is not the tenant's`);
  }
  if (turns.length !== tenant.turns.length)
    fail(`${tenant.tag} has ${turns.length} turns and was told of ${tenant.turns.length}`);
}

/** Which tenants' sections are in a request: more than one is a leak to the provider. */
function checkRequests(installation: Installation, { plan }: History, fail: (what: string) => void): void {
  const tags = new RegExp(`s${plan.seed}t\\d+`, 'g');
  for (const { route, body } of installation.requests()) {
    const found = new Set(JSON.stringify(body['input'] ?? body['messages'] ?? '').match(tags));
    if (found.size > 1) fail(`one ${route} request has texts of ${[...found].join(' and ')}`);
  }
}

/** Embeddings that were sold more than once for documents to which nothing but attempts happened. */
function checkPurchases(
  installation: Installation,
  history: History,
  rows: ReadonlyMap<Tenant, Rows>,
  fail: (what: string) => void,
): number {
  const sold = new Map<string, number>();
  for (const { route, body, fault, state } of installation.requests()) {
    if (route !== 'embeddings' || fault !== undefined || state === 'open' || !Array.isArray(body['input'])) continue;
    for (const text of body['input']) sold.set(String(text), (sold.get(String(text)) ?? 0) + 1);
  }
  // A reply that the network lost was paid for; how many were is not known here.
  const isNetworkSafe = !history.plan.steps.some(({ what }) => what.type === 'network' && what.to === 'provider');
  let repeated = 0;
  for (const [tenant, { documents, tasks }] of rows) {
    for (const document of documents) {
      const own = tasks.filter(({ document_id }) => document_id === document.id);
      const [task] = own;
      const mark = tenant.uploads.find(({ documentId }) => documentId === document.id)?.input.mark;
      if (
        !task ||
        own.length !== 1 ||
        mark === undefined ||
        tenant.uploads.some(({ documentId, input }) => input.mark === mark && documentId !== document.id)
      )
        continue;
      if (tenant.cancelAsked.has(task.id) || tenant.retryAsked.has(task.id)) continue;
      const twice = [...sold].reduce((sum, [text, times]) => sum + (text.includes(`of ${mark}\n`) ? times - 1 : 0), 0);
      repeated += twice;
      if (isNetworkSafe && twice > BATCH * Math.max(0, task.attempt - 1)) {
        fail(`${mark}: ${twice} chunks were bought again in ${task.attempt} attempts`);
      }
    }
  }
  return repeated;
}

/**
 * Every document has its original, and its text once it is ready. Returns how many blobs belong to no document: an upload
 * or a deletion that its process did not survive leaves some, which cost space and are shown to nobody.
 */
async function checkBlobs(
  { blobs }: Installation,
  tenant: Tenant,
  { documents }: Rows,
  fail: (what: string) => void,
): Promise<number> {
  const files = async (kind: string) => {
    const found = await readdir(join(blobs, 'blobs', kind, tenant.id), { recursive: true, withFileTypes: true }).catch(
      () => [],
    );
    return found
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => (kind === 'texts' ? `${basename(parentPath)}/${name}` : name));
  };
  const [originals, texts] = [new Set(await files('originals')), new Set(await files('texts'))];
  for (const { id, status, live_version: version } of documents) {
    if (!originals.has(id)) fail(`the document ${id} has no original`);
    if (status === 'ready' && !texts.has(`${id}/v${version}`)) fail(`the document ${id} has no text`);
  }
  const known = new Set(documents.map(({ id }) => id));
  return [...originals, ...texts].filter((name) => !known.has(name.split('/')[0] ?? '')).length;
}

export async function checkHistory(installation: Installation, history: History): Promise<Verdict> {
  const violations = [...history.problems];
  const fail = (what: string) => void violations.push(what);
  const rows = new Map<Tenant, Rows>();
  let orphans = 0;
  for (const tenant of history.tenants) {
    const own = await rowsOf(installation, tenant);
    rows.set(tenant, own);
    const unfinished = [...own.tasks, ...own.turns].filter(({ status }) => status === 'queued' || status === 'running');
    if (unfinished.length > 0) fail(`${tenant.tag} has ${unfinished.length} unfinished`);
    const { loose, outstanding, bytes } = own.counts;
    if (loose !== 0) fail(`${tenant.tag} has ${loose} vectors without a chunk`);
    if (outstanding !== 0 || bytes !== 0)
      fail(`${tenant.tag} counts ${outstanding} outstanding tasks of ${bytes} bytes`);
    await checkDocuments(tenant, own, fail);
    await checkTurns(tenant, own, fail);
    orphans += await checkBlobs(installation, tenant, own, fail);
  }
  checkRequests(installation, history, fail);
  const repeated = checkPurchases(installation, history, rows, fail);
  const crashes = installation.crashes.slice(history.crashesBefore);
  for (const crash of crashes) {
    if (!crash.output.includes('could not start'))
      fail(`${crash.name} ended with ${crash.signal ?? crash.code}:\n${crash.output.slice(-2_000)}`);
  }
  const alarms = installation.alarms();
  // Those of each process are in their order, those of all are not: any more than before is one of this run.
  if (alarms.length > history.alarmsBefore) fail(`a process said what none may say: ${alarms.join('\n')}`);
  const all = [...rows.values()];
  const count = (status: string) =>
    all.flatMap(({ tasks, turns }) => [...tasks, ...turns]).filter((row) => row.status === status).length;
  return {
    violations,
    figures: {
      uploads: history.tenants.reduce((sum, { uploads }) => sum + uploads.length, 0),
      succeeded: count('succeeded'),
      failed: all.flatMap(({ tasks }) => tasks).filter(({ status }) => status === 'failed').length,
      dead: count('dead'),
      cancelled: count('cancelled'),
      deleted: history.tenants.reduce((sum, { deleted }) => sum + deleted.size, 0),
      turns: all.reduce((sum, { turns }) => sum + turns.length, 0),
      answered: count('completed'),
      unanswered: all.flatMap(({ turns }) => turns).filter(({ status }) => status === 'failed').length,
      chunks: all.reduce((sum, { chunks }) => sum + chunks.length, 0),
      repeated,
      attempts: all.flatMap(({ tasks, turns }) => [...tasks, ...turns]).reduce((sum, { attempt }) => sum + attempt, 0),
      orphans,
      crashes: crashes.length,
      quietMs: Math.round(history.quietAfterMs),
    },
  };
}
