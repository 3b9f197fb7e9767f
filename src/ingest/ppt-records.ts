/**
 * Records of an old PowerPoint document: a tree of typed, counted bytes. Nothing is copied; each record is a place in the
 * stream. Layout: [MS-PPT] 2.3.1 and [MS-ODRAW] 2.2.
 */
import { ExtractError } from './extract-error.ts';

export interface PptRecord {
  type: number;
  instance: number;
  /** Bytes of what is in it, in the stream. */
  start: number;
  end: number;
}

export interface PptRecords {
  /** The record at a place, where there is one. */
  at(place: number): PptRecord | undefined;
  /** What is in a container, in its order, as far as it is whole. */
  within(parent: PptRecord): PptRecord[];
  /** The first of a type within a container. */
  first(parent: PptRecord | undefined, type: number): PptRecord | undefined;
  /** A whole number of 32 bits in a record; 0 where it is too short. */
  long(record: PptRecord, offset: number): number;
  bytes(record: PptRecord): Buffer;
}

const HEADER = 8;
/** The same record can be named by many; what is looked at must end. */
const MOST_RECORDS = 3_000_000;

export function pptRecords(stream: Buffer): PptRecords {
  let looked = 0;

  function at(place: number, end = stream.length): PptRecord | undefined {
    if (place + HEADER > end) return undefined;
    looked += 1;
    if (looked > MOST_RECORDS) throw new ExtractError('limits_exceeded', 'The presentation has too many parts.');
    const start = place + HEADER;
    const length = stream.readUInt32LE(place + 4);
    if (start + length > end) return undefined;
    return {
      type: stream.readUInt16LE(place + 2),
      instance: stream.readUInt16LE(place) >> 4,
      start,
      end: start + length,
    };
  }

  function within(parent: PptRecord): PptRecord[] {
    const records: PptRecord[] = [];
    for (let record = at(parent.start, parent.end); record; record = at(record.end, parent.end)) records.push(record);
    return records;
  }

  return {
    at: (place) => at(place),
    within,
    first: (parent, type) => (parent ? within(parent).find((record) => record.type === type) : undefined),
    long: ({ start, end }, offset) => (start + offset + 4 <= end ? stream.readUInt32LE(start + offset) : 0),
    bytes: ({ start, end }) => stream.subarray(start, end),
  };
}
