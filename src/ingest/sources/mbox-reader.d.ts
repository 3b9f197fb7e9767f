declare module 'mbox-reader' {
  interface MboxMessage {
    content: Buffer;
    /** By lower-case name. */
    headers: Map<string, string[]>;
  }
  export function mboxReader(stream: import('node:stream').Readable): AsyncIterable<MboxMessage>;
}
