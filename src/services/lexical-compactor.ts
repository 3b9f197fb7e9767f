/**
 * Keeps the text index of every tenant in few segments (migration 0070). States of a document: loose (in
 * no segment; searches read its chunks one by one) → in a segment → loose again when it is published anew, or when its
 * segment is merged with others, in one transaction. So a search finds everything in every state, and a round that is
 * cut off leaves nothing behind.
 *
 * Loose documents are put together with the segments that are no larger than what is put together already, up to a limit:
 * a chunk is written again about as often as its tenant doubles. A segment of which half is gone is written anew.
 *
 * A load comes in waves of documents, and writing a segment costs the server as much as half of what loading its chunks
 * did: so the job waits until an audience has been quiet for a moment, or has enough for a whole segment.
 */
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { Turns } from '../kernel/turns.ts';
import {
  type Audience,
  dropSegments,
  listWaiting,
  lockAudience,
  type SegmentSize,
  segmentSizes,
  type Waiting,
  writeSegment,
} from '../repositories/lexical-segments.ts';
import { createQuietWatch } from './quiet-watch.ts';

export interface LexicalCompactor extends Service {
  /** Writes segments until nothing waits for one; returns how many were written. What another worker is at is left. */
  settle(signal?: AbortSignal): Promise<number>;
}

export interface LexicalCompactorOptions {
  database: Database;
  clock: Clock;
  ids: Ids;
  logger: Logger;
  /** Chunks in no segment from which on it is worth writing one. */
  loose?: number;
  /** The most chunks of a segment: one transaction writes it, some 0.1 s a thousand. */
  most?: number;
  everyMs?: number;
  /** How long nothing must have been published to an audience, unless it has enough for a whole segment. */
  quietMs?: number;
  /** A segment is one turn of the background; absent: it waits for nobody. */
  turns?: Pick<Turns, 'take'>;
}

/** Who is asked for what all of a tenant may see. */
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** The segments to write anew together with `loose` chunks: those half gone, and small ones from the smallest up. */
export function segmentsToMerge(sizes: readonly SegmentSize[], loose: number, most: number): string[] {
  const merged: string[] = [];
  let total = loose;
  for (const { id, live, written } of sizes) {
    const isSparse = live < written / 2;
    if (!isSparse && (live > total || total + live > most)) continue;
    merged.push(id);
    total += live;
  }
  return merged;
}

export function createLexicalCompactor(options: LexicalCompactorOptions): LexicalCompactor {
  const { database, clock, ids, logger, loose: least = 256, most = 8_192, everyMs = 2_000, quietMs = 3_000 } = options;
  const quietOf = createQuietWatch({ clock, quietMs });

  /** Those that are quiet, have enough, or have a segment to write anew. */
  function ripeOf(waiting: readonly Waiting[]): readonly Waiting[] {
    const keyed = waiting.map(({ loose, ...audience }) => [JSON.stringify(Object.values(audience)), loose] as const);
    const quiet = quietOf(new Map(keyed));
    return waiting.filter(({ loose }, at) => loose === 0 || loose >= most || quiet.has(keyed[at]?.[0] ?? ''));
  }

  /** One transaction for one audience; the number of segments written. */
  async function compact({ tenantId, privateTo, cut, loose }: Audience & { loose: number }): Promise<number> {
    const scope = { tenantId, userId: privateTo ?? NOBODY, traceId: newTraceId() };
    return runAs(scope, () =>
      database.tenant(async (sql) => {
        if (!(await lockAudience(sql, { tenantId, privateTo, cut }))) return 0;
        const merged = segmentsToMerge(await segmentSizes(sql, { privateTo, cut }), Math.min(loose, most), most);
        if (merged.length > 0) await dropSegments(sql, merged);
        const chunks = await writeSegment(sql, { id: ids.uuid(), privateTo, cut, most });
        if (chunks > 0) logger.debug({ tenant_id: tenantId, chunks, merged: merged.length }, 'text index written');
        return chunks > 0 ? 1 : 0;
      }),
    );
  }

  const inTurn = <T>(signal: AbortSignal, step: () => Promise<T>) =>
    options.turns ? options.turns.take(step, { signal, lane: 'background' }) : step();

  async function round(signal: AbortSignal, choose: (waiting: readonly Waiting[]) => readonly Waiting[]) {
    let written = 0;
    for (const waiting of choose(await database.system((sql) => listWaiting(sql, least)))) {
      if (signal.aborted) return written;
      written += await inTurn(signal, () => compact(waiting));
    }
    return written;
  }

  const loop = createLoop({
    name: 'lexical-compactor',
    everyMs,
    clock,
    logger,
    round: async (signal) => (await round(signal, ripeOf)) > 0,
  });
  return {
    ...loop,
    async settle(signal = new AbortController().signal) {
      const all = () => round(signal, (waiting) => waiting);
      let total = 0;
      for (let written = await all(); written > 0; written = await all()) total += written;
      return total;
    },
  };
}
