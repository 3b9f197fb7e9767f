/** Port of the blob store: originals and extracted texts. Keys are built in one place, `storage/blob-keys.ts`. */
export interface StagedBlob {
  /** Where the bytes wait until they are promoted or discarded. */
  readonly stagingKey: string;
  readonly size: number;
  /** SHA-256 of the bytes, 64 lower-case hex digits. */
  readonly sha256: string;
  /** The first bytes, for deciding the type: up to 64 KiB. */
  readonly head: Uint8Array;
}

export interface BlobStore {
  /** Streams bytes to a staging place, hashing on the way. Over `maxBytes`: discards them, throws `payload_too_large`. */
  stage(body: AsyncIterable<Uint8Array>, options: { maxBytes: number; signal?: AbortSignal }): Promise<StagedBlob>;
  /** Moves staged bytes to their key; atomic, and overwrites. */
  promote(staged: StagedBlob, key: string): Promise<void>;
  /** Forgets staged bytes; fine when they are gone already. */
  discard(staged: StagedBlob): Promise<void>;
  put(key: string, body: Uint8Array | string): Promise<void>;
  /** The whole blob as a stream; throws `not_found`. `range` is in bytes, `end` exclusive. */
  read(key: string, range?: { start: number; end: number }): Promise<ReadableStream<Uint8Array>>;
  size(key: string): Promise<number>;
  /** A local file with the blob's bytes, for parsers that need one; `release` it afterwards. */
  asFile(key: string): Promise<{ path: string; release(): Promise<void> }>;
  remove(key: string): Promise<void>;
  /** Removes the blob of this key and all blobs below it; resolves to how many there were. */
  clear(folder: string): Promise<number>;
  /** Keys of all blobs, in any order; not of what is staged. */
  list(): AsyncIterable<string>;
  /** Throws `unavailable` when the store cannot be written. */
  check(): Promise<void>;
}
