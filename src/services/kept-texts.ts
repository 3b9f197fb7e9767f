/** Removes the texts of replaced versions that no answer cites any more (`repositories/document-texts.ts`). */
import type { BlobStore } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { type DueText, forgetText, listDueTexts, postponeText } from '../repositories/document-texts.ts';
import { textKey } from '../storage/blob-keys.ts';

export interface KeptTextsSweep extends Service {
  /** Looks at what is due, a batch at most; resolves to how many texts it could look at. */
  sweep(): Promise<number>;
}

export interface KeptTextsSweepOptions {
  database: Database;
  blobs: Pick<BlobStore, 'remove'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}

const AT_ONCE = 200;
const NOBODY = '00000000-0000-0000-0000-000000000000';

export function createKeptTextsSweep(options: KeptTextsSweepOptions): KeptTextsSweep {
  const { database, blobs, clock, logger, everyMs = 600_000 } = options;

  /** The row goes first: a leftover blob harms nobody and goes with its document, a row without its text would promise it. */
  async function look(text: DueText): Promise<void> {
    if (text.needed) {
      await database.tenant((sql) => postponeText(sql, text));
      return;
    }
    const wasKept = await database.tenant((sql) => forgetText(sql, text));
    if (wasKept) await blobs.remove(textKey(text.documentId, text.version));
  }

  async function sweep(): Promise<number> {
    const due = await database.system((sql) => listDueTexts(sql, AT_ONCE));
    let looked = 0;
    for (const text of due) {
      const { tenantId, privateTo, documentId, version } = text;
      try {
        await runAs({ tenantId, userId: privateTo ?? NOBODY, traceId: newTraceId() }, () => look(text));
        looked += 1;
      } catch (error) {
        logger.error({ err: error, document_id: documentId, version }, `a replaced text stays: ${messageOf(error)}`);
      }
    }
    return looked;
  }

  const loop = createLoop({
    name: 'kept-texts-sweep',
    everyMs,
    clock,
    logger,
    round: async () => (await sweep()) === AT_ONCE,
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, sweep };
}
