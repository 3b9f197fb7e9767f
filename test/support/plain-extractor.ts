import type { Extractor } from '../../src/contracts/index.ts';

/** Reads a text file as it is: what the real extractor does has tests of its own. */
export const plainExtractor: Extractor = {
  async extract({ path }) {
    return { text: await Bun.file(path).text(), title: null, pages: [], headings: [] };
  },
  async extractFile({ path }) {
    const chars = (await Bun.file(path).text()).length;
    return { textPath: path, chars, title: null, pages: [], headings: [], files: [], release: async () => {} };
  },
};
