/**
 * What an old PowerPoint file consists of: the document, and its slides and notes by the numbers under which they were
 * last saved. Each save appends what changed, with a list of where it is; the newest list wins. [MS-PPT] 2.1.2 and 2.3.
 */
import { ExtractError } from './extract-error.ts';
import { type PptRecord, type PptRecords, pptRecords } from './ppt-records.ts';

const DOCUMENT = 0x03e8;
const USER_EDIT = 0x0ff5;
const PERSIST_DIRECTORY = 0x1772;
const VBA_INFO = 0x03ff;
const VBA_INFO_ATOM = 0x0400;
const LIST = 0x07d0;
/** Of `Current User`: the file is encrypted. */
const ENCRYPTED_TOKEN = 0xf3d1c4df;
const MOST_SAVES = 10_000;

export interface PptDocument {
  records: PptRecords;
  document: PptRecord;
  /** A slide or a page of notes by its number. */
  object(id: number): PptRecord | undefined;
}

/** Throws `corrupt`, `encrypted`, or `unsupported_media_type` for macros. */
export function openPpt(stream: Buffer, currentUser: Buffer): PptDocument {
  const records = pptRecords(stream);
  if (currentUser.length >= 16 && currentUser.readUInt32LE(12) === ENCRYPTED_TOKEN) throw encrypted();
  const newest = records.at(currentUser.length >= 20 ? currentUser.readUInt32LE(16) : -1);
  const saves = savesOf(records, newest?.type === USER_EDIT ? newest : lastSave(records));
  const places = placesOf(records, saves);
  const object = (id: number) => {
    const place = places.get(id);
    return place === undefined ? undefined : records.at(place);
  };
  const [last] = saves;
  const document = last && object(records.long(last, 16));
  if (document?.type !== DOCUMENT) throw new ExtractError('corrupt', 'The presentation is damaged and cannot be read.');
  const macros = records.first(records.first(records.first(document, LIST), VBA_INFO), VBA_INFO_ATOM);
  if (macros && records.long(macros, 4) !== 0) {
    const message = 'The presentation has macros in it, and is not taken for that reason.';
    throw new ExtractError('unsupported_media_type', message);
  }
  return { records, document, object };
}

/** Saves from the newest to the oldest. */
function savesOf(records: PptRecords, newest: PptRecord | undefined): PptRecord[] {
  const saves: PptRecord[] = [];
  const seen = new Set<number>();
  for (let save = newest; save?.type === USER_EDIT && saves.length < MOST_SAVES; ) {
    // A number of a ninth field is the key's.
    if (save.end - save.start >= 32 && records.long(save, 28) !== 0) throw encrypted();
    seen.add(save.start);
    saves.push(save);
    const before = records.long(save, 8);
    save = before === 0 || seen.has(before + 8) ? undefined : records.at(before);
  }
  return saves;
}

/** Where the other stream does not tell: the last of the records that follow each other. */
function lastSave(records: PptRecords): PptRecord | undefined {
  let last: PptRecord | undefined;
  for (let record = records.at(0); record; record = records.at(record.end))
    if (record.type === USER_EDIT) last = record;
  return last;
}

function placesOf(records: PptRecords, saves: readonly PptRecord[]): Map<number, number> {
  const places = new Map<number, number>();
  for (const save of saves) {
    const directory = records.at(records.long(save, 12));
    if (directory?.type !== PERSIST_DIRECTORY) continue;
    const bytes = records.bytes(directory);
    for (let at = 0; at + 4 <= bytes.length; ) {
      const run = bytes.readUInt32LE(at);
      const [first, count] = [run & 0xfffff, run >>> 20];
      at += 4;
      for (let i = 0; i < count && at + 4 <= bytes.length; i++, at += 4) {
        if (!places.has(first + i)) places.set(first + i, bytes.readUInt32LE(at));
      }
    }
  }
  return places;
}

const encrypted = () => new ExtractError('encrypted', 'The presentation is protected with a password.');
