/**
 * The lexemes of one text with their positions, counted while it is read and encoded when it ends. A place is a lexeme's, by
 * order of first appearance; its positions are a list through `after`. Everything is used by one text after the other, and
 * grows to what the longest has needed: making a map and an array a lexeme took longer than finding the words. States:
 * `countNextText` → any number of `countTerm` and `countForms` → `encodeCounted`, with nothing waited for in between.
 */
import type { WordForms } from './words.ts';

/** PostgreSQL keeps so many positions a lexeme. */
const MAX_POSITIONS = 255;
const NONE = -1;
let current = 0;
let distinct = 0;
let noted = 0;
/** Each lexeme's place and one, where its hash leads to or behind that; twice as long as it need be. */
let table = new Int32Array(2048);
const terms: string[] = [];
let hashes = new Int32Array(1024);
let firsts = new Int32Array(1024);
let lasts = new Int32Array(1024);
let counts = new Int32Array(1024);
let positions = new Uint16Array(4096);
let after = new Int32Array(4096);
let output = Buffer.allocUnsafe(16 * 1024);

/** Forgets the text before. */
export function countNextText(): void {
  current += 1;
  distinct = 0;
  noted = 0;
  table.fill(0);
}

/** Nobody can choose words that all lead to one place. */
const SEED = crypto.getRandomValues(new Int32Array(1))[0] ?? 0;

function hashOf(term: string): number {
  let hash = SEED;
  for (let i = 0; i < term.length; i++) hash = Math.imul(hash ^ term.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 15);
}

function placeOf(term: string): number {
  const hash = hashOf(term);
  const mask = table.length - 1;
  let at = hash & mask;
  for (let place = (table[at] ?? 0) - 1; place !== NONE; place = (table[at] ?? 0) - 1) {
    if (hashes[place] === hash && terms[place] === term) return place;
    at = (at + 1) & mask;
  }
  const place = distinct++;
  if (place >= counts.length) growPlaces();
  table[at] = place + 1;
  terms[place] = term;
  hashes[place] = hash;
  counts[place] = 0;
  if (distinct * 2 > table.length) growTable();
  return place;
}

function growPlaces(): void {
  [hashes, firsts, lasts, counts] = [grown(hashes), grown(firsts), grown(lasts), grown(counts)];
}

function growTable(): void {
  table = new Int32Array(table.length * 2);
  const mask = table.length - 1;
  for (let place = 0; place < distinct; place++) {
    let at = (hashes[place] ?? 0) & mask;
    while (table[at] !== 0) at = (at + 1) & mask;
    table[at] = place + 1;
  }
}

/** Positions come in ascending order; one that is there already is not counted again. */
export function countTerm(term: string, position: number): void {
  count(placeOf(term), position);
}

/** As `countTerm` of the forms' term; a word that the text had before is not even looked up. */
export function countForms(forms: WordForms, position: number): void {
  if (forms.text !== current) {
    forms.text = current;
    forms.place = placeOf(forms.term);
  }
  count(forms.place, position);
}

function count(place: number, position: number): void {
  const known = counts[place] ?? 0;
  if (known === 0) firsts[place] = noted;
  else {
    const last = lasts[place] ?? 0;
    if (known === MAX_POSITIONS || positions[last] === position) return;
    after[last] = noted;
  }
  if (noted >= positions.length - 1) [positions, after] = [grown(positions), grown(after)];
  positions[noted] = position;
  after[noted] = NONE;
  lasts[place] = noted;
  counts[place] = known + 1;
  noted += 1;
}

/** What was counted, as the server receives a `tsvector` (`TextIndex`). */
export function encodeCounted(): Uint8Array {
  let most = 4 + distinct * 3 + noted * 2;
  for (let place = 0; place < distinct; place++) most += (terms[place] ?? '').length * 3;
  if (output.length < most) output = Buffer.allocUnsafe(2 * most);
  let at = output.writeInt32BE(distinct, 0);
  for (let place = 0; place < distinct; place++) {
    at = writeTerm(output, terms[place] ?? '', at);
    output[at] = 0;
    output[at + 1] = 0;
    output[at + 2] = counts[place] ?? 0;
    at += 3;
    for (let next = firsts[place] ?? NONE; next !== NONE; next = after[next] ?? NONE) {
      const position = positions[next] ?? 0;
      output[at] = position >> 8;
      output[at + 1] = position;
      at += 2;
    }
  }
  return new Uint8Array(output.buffer.slice(output.byteOffset, output.byteOffset + at));
}

function grown<T extends Int32Array | Uint16Array>(list: T): T {
  const larger = list instanceof Int32Array ? new Int32Array(list.length * 2) : new Uint16Array(list.length * 2);
  larger.set(list);
  return larger as T;
}

/** In UTF-8; a call out of the runtime takes longer than a short word does byte by byte. Returns where it ends. */
function writeTerm(bytes: Buffer, term: string, from: number): number {
  for (let i = 0; i < term.length; i++) {
    const code = term.charCodeAt(i);
    if (code >= 0x80) return from + bytes.write(term, from, 'utf8');
    bytes[from + i] = code;
  }
  return from + term.length;
}
