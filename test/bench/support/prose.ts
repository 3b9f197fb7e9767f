/** Documents of made-up prose: words by Zipf's law, sentences, paragraphs and headings; no two alike. */

const SYLLABLES = 'ka lo mi ren tus va pel dor ish em ba tol gri san eth or ul che fin da'.split(' ');
const VOCABULARY = 8_000;

/** Mulberry32: small, fast, and the same for everybody. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const words = (() => {
  const random = randomOf(1);
  const pick = () => SYLLABLES[Math.floor(random() * SYLLABLES.length)] ?? '';
  return Array.from({ length: VOCABULARY }, (_, rank) =>
    Array.from({ length: 1 + Math.floor(random() * 2) + (rank > 200 ? 1 : 0) }, pick).join(''),
  );
})();

/** Markdown of about `bytes`, which says `mark` in its last sentence and nowhere else. */
export function proseOf(seed: number, bytes: number, mark: string): string {
  const random = randomOf(seed);
  const word = () => words[Math.floor(VOCABULARY ** random()) - 1] ?? 'so';
  const parts: string[] = [];
  let length = 0;
  const add = (part: string) => {
    parts.push(part);
    length += part.length;
  };
  for (let paragraph = 0; length < bytes; paragraph++) {
    if (paragraph % 12 === 0) add(`## ${word()} ${word()} ${paragraph}\n\n`);
    for (let sentence = 0; sentence < 3 + random() * 5; sentence++) {
      const text = Array.from({ length: 6 + Math.floor(random() * 16) }, word).join(' ');
      add(`${text.charAt(0).toUpperCase()}${text.slice(1)}. `);
    }
    add('\n\n');
  }
  return `${parts.join('')}The last word is ${mark}.\n`;
}
