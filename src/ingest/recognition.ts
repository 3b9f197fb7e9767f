/**
 * Text in pictures, by Tesseract with the language data that two packages ship: English and simplified Chinese, without
 * network. About 4-9 s a page on one core. One recogniser is kept for the life of the process, which is the extraction
 * child's.
 */
import { copyFile, mkdtemp } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createWorker, type Worker } from 'tesseract.js';
import { ExtractError } from './extract-error.ts';

/** What is tried in this order: reading English as Chinese takes twice as long and gets worse. */
const READINGS = [['eng'], ['chi_sim', 'eng']] as const;
type Reading = (typeof READINGS)[number];
const PACKAGES = {
  eng: () => import.meta.resolve('@tesseract.js-data/eng/package.json'),
  chi_sim: () => import.meta.resolve('@tesseract.js-data/chi_sim/package.json'),
} as const;
/** Above, another language would not do better: Chinese read as English comes to some 50. In percent. */
const SURE = 65;
/** What another reading must have more, since guesses differ by a few. */
const BETTER = 5;
/** Below, what was recognised is speckles, not letters. */
const MIN_CONFIDENCE = 35;

const workers = new Map<Reading, Promise<Worker>>();
let languages: Promise<string> | undefined;
/** Lines of text of a PNG, JPEG, WebP, BMP or PNM; empty where none was recognised. */
export type Recogniser = (image: Uint8Array) => Promise<string>;

/** For one document: its pages are of one language, so the one that did well is tried first on the next. */
export function createRecogniser(): Recogniser {
  let first: Reading = READINGS[0];
  return async (image) => {
    let best = { text: '', confidence: MIN_CONFIDENCE };
    for (const reading of [first, ...READINGS.filter((other) => other !== first)]) {
      const worker = await workerFor(reading);
      const { data } = await worker.recognize(Buffer.from(image.buffer, image.byteOffset, image.byteLength));
      if (data.confidence > best.confidence + (best.text === '' ? 0 : BETTER)) {
        best = data;
        first = reading;
      }
      if (best.confidence >= SURE) break;
    }
    return withoutGaps(best.text).trim();
  };
}

async function workerFor(reading: Reading): Promise<Worker> {
  const known = workers.get(reading);
  if (known) return known;
  languages ??= languageFolder();
  const worker = languages.then((langPath) =>
    createWorker([...reading], 1, { langPath, gzip: true, cacheMethod: 'none', errorHandler: () => {} }),
  );
  workers.set(reading, worker);
  try {
    return await worker;
  } catch (error) {
    throw new ExtractError(
      'needs_ocr',
      'The document consists of pictures, and text recognition is not installed.',
      error,
    );
  }
}

/** The library wants all languages in one folder, and waits for ever for one that is not there. */
async function languageFolder(): Promise<string> {
  const folder = await mkdtemp(join(process.cwd(), 'languages-'));
  for (const code of new Set(READINGS.flat())) {
    const home = dirname(fileURLToPath(PACKAGES[code]()));
    // The integer models: a fifth of the size of the others, faster, and as good on print.
    const file = `${code}.traineddata.gz`;
    await copyFile(join(home, '4.0.0_best_int', file), join(folder, file));
  }
  return folder;
}

/** Chinese is recognised character by character, with a blank after each. */
function withoutGaps(text: string): string {
  const cjk = '[\\p{Script=Han}\\u3000-\\u303f\\uff00-\\uffef]';
  return text.replace(new RegExp(`(?<=${cjk})[^\\S\\n]+(?=${cjk})`, 'gu'), '');
}
