/** What every embedding provider keeps, whoever computes the vectors. */
import { describe, expect, test } from 'bun:test';
import type { EmbeddingProvider } from '../../src/contracts/index.ts';

const norm = (vector: Float32Array): number => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
const cosine = (a: Float32Array, b: Float32Array): number =>
  a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);

export function describeEmbeddingProvider(name: string, create: () => Promise<EmbeddingProvider>): void {
  describe(`embedding provider: ${name}`, () => {
    test('gives one unit vector a text, in order, of its dimensions', async () => {
      const provider = await create();
      const texts = ['The harbour opened in 1921.', '港口于一九二一年启用。', 'x'];
      const { vectors, tokens } = await provider.embed(texts, { purpose: 'document' });
      expect(vectors).toHaveLength(3);
      for (const vector of vectors) {
        expect(vector).toBeInstanceOf(Float32Array);
        expect(vector.length).toBe(provider.dimensions);
        expect(norm(vector)).toBeCloseTo(1, 4);
      }
      expect(tokens).toBeGreaterThan(0);
      const alone = await provider.embed(texts.slice(1, 2), { purpose: 'document' });
      expect(cosine(alone.vectors[0] ?? new Float32Array(), vectors[1] ?? new Float32Array())).toBeCloseTo(1, 4);
    });

    test('gives the same text the same vector again', async () => {
      const provider = await create();
      const [first, second] = await Promise.all(
        [1, 2].map(() => provider.embed(['Grain silos by the river'], { purpose: 'document' })),
      );
      expect(first?.vectors).toEqual(second?.vectors ?? []);
    });

    test('puts texts that say alike things closer than others', async () => {
      const provider = await create();
      const { vectors } = await provider.embed(
        ['how to repair a bicycle tyre', 'repairing the tyre of a bicycle', 'quarterly report of the steel works'],
        { purpose: 'document' },
      );
      const [a, b, c] = vectors;
      if (!a || !b || !c) throw new Error('three vectors were asked for');
      expect(cosine(a, b)).toBeGreaterThan(cosine(a, c));
    });

    test('takes no text, empty text, long text and half a surrogate pair', async () => {
      const provider = await create();
      expect((await provider.embed([], { purpose: 'document' })).vectors).toEqual([]);
      const { vectors } = await provider.embed(['', '\ud83d broken', 'long '.repeat(20_000), '字'.repeat(20_000)], {
        purpose: 'document',
      });
      for (const vector of vectors) expect(norm(vector)).toBeCloseTo(1, 4);
    });

    test('takes a whole batch', async () => {
      const provider = await create();
      const texts = Array.from({ length: provider.maxBatch }, (_, index) => `text number ${index}`);
      expect((await provider.embed(texts, { purpose: 'document' })).vectors).toHaveLength(provider.maxBatch);
    });

    test('rejects with the reason of a signal that was aborted before', async () => {
      const provider = await create();
      const reason = new Error('no longer wanted');
      await expect(provider.embed(['text'], { purpose: 'query', signal: AbortSignal.abort(reason) })).rejects.toBe(
        reason,
      );
    });

    test('names itself and weighs its vectors within bounds', async () => {
      const provider = await create();
      expect(provider.provider).toMatch(/^[a-z]+$/);
      expect(provider.model).not.toBe('');
      expect(provider.maxBatch).toBeGreaterThan(0);
      expect(provider.vectorWeight).toBeGreaterThan(0);
      expect(provider.vectorWeight).toBeLessThanOrEqual(1);
    });
  });
}
