/**
 * A process that builds spaces as the next release would (`pair-chunker.ts`), so that a test can kill one. Says a line on
 * stdout for each batch that it is about to buy and waits for one on stdin before it does: `bun pair-builder.ts URL OWNER_URL BLOBS`.
 */
import { createDatabase } from '../../src/db/database.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger as logger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createPrices } from '../../src/llm/prices.ts';
import { createSpaces } from '../../src/services/spaces.ts';
import { createSpaceBuilder } from '../../src/services/spaces-build.ts';
import { createUsageMeter } from '../../src/services/usage-meter.ts';
import { createDiskBlobStore } from '../../src/storage/disk-blob-store.ts';
import { pairChunker as chunker } from './pair-chunker.ts';
import { plainExtractor as extractor } from './plain-extractor.ts';

const [url = '', ownerUrl = '', root = ''] = process.argv.slice(2);
const database = createDatabase({ url, ownerUrl, max: 4, embedded: false });
const builtin = createBuiltinEmbeddings({ dimensions: 64 });
const answers = process.stdin[Symbol.asyncIterator]();
const embeddings: typeof builtin = {
  ...builtin,
  maxBatch: 10,
  async embed(texts, options) {
    process.stdout.write(`${JSON.stringify(texts)}\n`);
    await answers.next();
    return builtin.embed(texts, options);
  },
};
const [clock, ids, pipeline] = [systemClock, systemIds, chunker.version];
const blobs = createDiskBlobStore({ root });
const metrics = createMetrics();
const spaces = createSpaces({ database, open: async () => embeddings, pipeline, clock, logger });
const meter = createUsageMeter({ prices: createPrices() });
const reading = { blobs, extractor, chunker, pipeline, meter };
const builder = createSpaceBuilder({ database, spaces, ...reading, clock, ids, logger, metrics, leaseMs: 3_000 });
await builder.build();
process.stdout.write('[]\n');
