/** What reads and cuts documents, as one name: what an embedding space and each version of a document are recorded with. */
import type { Chunker } from '../contracts/index.ts';

/** Grows with every change by which some extractor gives another text, headings or pages for the same bytes. */
const EXTRACTORS = 3;

/**
 * `extractors-3+structural-2/400/45/cl100k`. The chunker's part says its algorithm, its default sizes and how it counts.
 * Where it changes, nothing happens by itself: what comes from then on is cut anew, and `bun run spaces build --pipeline`
 * does the same for what is there.
 */
export const pipelineVersion = ({ version }: Pick<Chunker, 'version'>): string => `extractors-${EXTRACTORS}+${version}`;
