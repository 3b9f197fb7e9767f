/**
 * Where one mail of a mailbox ends and the next begins. The line that says so names a sender and a time (RFC 4155); a
 * sentence of a mail that begins with the same word was to be quoted by the program that wrote the mailbox, and some
 * programs don't.
 */
const NEWLINE = 0x0a;
const WORD = Buffer.from('From ');
/** As far as a separator is looked at. */
const LOOKED_AT = 256;
const TIME = String.raw`\b\d{1,2}:\d{2}(?::\d{2})?\b`;
const YEAR = String.raw`\b(?:19|20)\d\d\b`;
const SEPARATOR = new RegExp(`^From \\S.*(?:${TIME}.*${YEAR}|${YEAR}.*${TIME})`);

/**
 * The same mailbox, with such sentences quoted, as readers expect them. Of a mail of more than `maxBytes` a little more
 * than that is handed on, so that it is noticed and yet not held.
 */
export async function* separated(body: AsyncIterable<Uint8Array>, maxBytes = Infinity): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let isFirst = true;
  let startsLine = true;
  let size = 0;
  let endsLine = true;

  function* work(bytes: Buffer, isLast: boolean): Generator<Buffer, Buffer> {
    let at = 0;
    while (at < bytes.length) {
      const newline = bytes.indexOf(NEWLINE, at);
      const end = newline < 0 ? bytes.length : newline + 1;
      // Whether a line is a separator takes its beginning.
      if (startsLine && newline < 0 && !isLast && end - at < LOOKED_AT) return bytes.subarray(at);
      let line = bytes.subarray(at, end);
      if (startsLine && line.subarray(0, WORD.length).equals(WORD)) {
        const separates = isFirst || SEPARATOR.test(line.toString('latin1', 0, LOOKED_AT));
        if (separates && !endsLine) yield Buffer.from('\n');
        if (separates) size = 0;
        else line = Buffer.concat([Buffer.from('>'), line]);
      }
      if (size <= maxBytes) {
        yield line;
        endsLine = newline >= 0;
      }
      size += line.length;
      startsLine = newline >= 0;
      isFirst = false;
      at = end;
    }
    return Buffer.alloc(0);
  }

  for await (const chunk of body) {
    const pieces: Buffer[] = [];
    const lines = work(rest.length > 0 ? Buffer.concat([rest, chunk]) : Buffer.from(chunk), false);
    let step = lines.next();
    for (; !step.done; step = lines.next()) pieces.push(step.value);
    rest = step.value;
    if (pieces.length > 0) yield Buffer.concat(pieces);
  }
  yield Buffer.concat([...work(rest, true)]);
}
