import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { AppError } from '../../../src/kernel/errors.ts';
import { readUpload } from '../../../src/storage/multipart.ts';
import { readPlainForm } from '../../../src/storage/plain-form.ts';
import { BOUNDARY, CONTENT_TYPE, field, file, multipartBytes, streamOf } from '../../support/documents-multipart.ts';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** What became of a form: everything that a caller could tell apart. */
async function outcome(body: Uint8Array | ReadableStream<Uint8Array>, contentType = CONTENT_TYPE, maxBytes = 500) {
  try {
    const { fields, file, filename } = await readUpload(body, contentType, {
      maxBytes,
      onFile: async (stream) => Buffer.concat(await Array.fromAsync(stream)).toString('hex'),
      discard: async () => {},
    });
    return { fields, file, filename };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { kind: error.kind, message: error.message, errors: error.errors };
  }
}

const sameBothWays = async (bytes: Uint8Array, contentType?: string) =>
  expect(await outcome(bytes, contentType)).toEqual(await outcome(streamOf(bytes), contentType));

describe('a form that is there as a whole', () => {
  test('is read at once where it is plain', () => {
    const bytes = multipartBytes([field('title', 'Año ü 年'), file('notes 1.txt', Buffer.from('a\r\n--b'))]);
    const form = readPlainForm(bytes, CONTENT_TYPE, 100);
    expect(form && { ...form, file: text(form.file) }).toEqual({
      fields: { title: 'Año ü 年' },
      filename: 'notes 1.txt',
      file: 'a\r\n--b',
    });
  });

  test('is read at once as fetch sends it', async () => {
    const request = new Request('http://localhost/', {
      method: 'POST',
      body: (() => {
        const form = new FormData();
        form.set('title', 'x');
        form.set('file', new File(['hello'], 'a.txt', { type: 'text/plain' }));
        return form;
      })(),
    });
    const contentType = request.headers.get('content-type') ?? '';
    expect(readPlainForm(await request.bytes(), contentType, 100)?.filename).toBe('a.txt');
  });

  const part = (headers: string, content = 'x') => `--${BOUNDARY}\r\n${headers}\r\n\r\n${content}\r\n`;
  const plainFile = part('Content-Disposition: form-data; name="file"; filename="a.txt"');
  const end = `--${BOUNDARY}--\r\n`;
  const unusual: Record<string, string> = {
    nothing: '',
    'no file': part('Content-Disposition: form-data; name="title"') + end,
    'two files': plainFile + plainFile + end,
    'a file without a name': part('Content-Disposition: form-data; name="file"') + end,
    'a file with an empty name': part('Content-Disposition: form-data; name="file"; filename=""') + end,
    'a file in another part': part('Content-Disposition: form-data; name="other"; filename="a.txt"') + end,
    'bytes in another part':
      plainFile + part('Content-Disposition: form-data; name="b"\r\nContent-Type: application/octet-stream') + end,
    'a path for a name': part('Content-Disposition: form-data; name="file"; filename="../a/b.txt"') + end,
    'a path of Windows': part('Content-Disposition: form-data; name="file"; filename="C:\\\\a\\\\b.txt"') + end,
    'an escaped quote': part('Content-Disposition: form-data; name="file"; filename="a\\"b.txt"') + end,
    'a percent sign': part('Content-Disposition: form-data; name="file"; filename="a%22.txt"') + end,
    'letters of others': part('Content-Disposition: form-data; name="file"; filename="报告.txt"') + end,
    'an extended name':
      part('Content-Disposition: form-data; name="file"; filename="a"; filename*=UTF-8\'\'b.txt') + end,
    'a name without quotes': part('Content-Disposition: form-data; name=file; filename=a.txt') + end,
    'headers in the other order':
      part('Content-Type: text/plain\r\nContent-Disposition: form-data; name="file"; filename="a.txt"') + end,
    'an encoding of its own':
      part(
        'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Transfer-Encoding: base64',
        'aGk=',
      ) + end,
    'a charset of a field':
      part('Content-Disposition: form-data; name="t"\r\nContent-Type: text/plain; charset=latin1', 'é') +
      plainFile +
      end,
    'a preamble': `hello\r\n${plainFile}${end}`,
    'an epilogue': `${plainFile}${end}bye`,
    'no end': plainFile,
    'half an end': `${plainFile}--${BOUNDARY}-`,
    'no line end at the end': `${plainFile}--${BOUNDARY}--`,
    'a boundary right after the headers': `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n${end}`,
    'no content': part('Content-Disposition: form-data; name="file"; filename="a.txt"', '') + end,
    'a boundary with more behind it': `${plainFile}--${BOUNDARY}x\r\n${end}`,
    'an unnamed field': part('Content-Disposition: form-data') + plainFile + end,
    'a long field name': part(`Content-Disposition: form-data; name="${'n'.repeat(101)}"`) + plainFile + end,
    'a long field': part('Content-Disposition: form-data; name="t"', 'v'.repeat(64 * 1024 + 1)) + plainFile + end,
    'many fields': part('Content-Disposition: form-data; name="t"').repeat(33) + plainFile + end,
    'as many fields as there may be': part('Content-Disposition: form-data; name="t"').repeat(32) + plainFile + end,
    'the same field twice':
      part('Content-Disposition: form-data; name="t"', 'a') +
      part('Content-Disposition: form-data; name="t"', 'b') +
      plainFile +
      end,
    'a file as large as may be':
      part('Content-Disposition: form-data; name="file"; filename="a.txt"', 'x'.repeat(500)) + end,
    'a larger file': part('Content-Disposition: form-data; name="file"; filename="a.txt"', 'x'.repeat(501)) + end,
    'line ends of Unix': (plainFile + end).replaceAll('\r\n', '\n'),
    'an endless header':
      part(`Content-Disposition: form-data; name="file"; filename="a.txt"\r\nX-A: ${'a'.repeat(20_000)}`) + end,
    'a prototype for a field': part('Content-Disposition: form-data; name="__proto__"', 'x') + plainFile + end,
  };

  test.each(Object.entries(unusual))('comes out as a stream does: %s', (_, body) => sameBothWays(Buffer.from(body)));

  test.each([
    'multipart/form-data',
    'text/plain',
    '',
    `multipart/form-data; boundary="${BOUNDARY}"`,
    `MULTIPART/Form-Data;boundary=${BOUNDARY}`,
    `multipart/form-data; charset=utf-8; boundary=${BOUNDARY}`,
    'multipart/form-data; boundary=other',
  ])('comes out as a stream does with the type %p', (type) => sameBothWays(Buffer.from(plainFile + end), type));

  test('comes out as a stream does, whatever is in it and wherever it is damaged', async () => {
    const name = fc.oneof(fc.constantFrom('title', 'file', 'metadata', ''), fc.string({ maxLength: 12 }));
    const anyPart = fc
      .record({
        name,
        filename: fc.option(fc.oneof(fc.constant('a.txt'), fc.string({ maxLength: 12 })), { nil: undefined }),
        content: fc.oneof(
          fc.string({ maxLength: 40 }),
          fc.constantFrom('', '\r\n', `--${BOUNDARY}`, `\r\n--${BOUNDARY}`, `\r\n--${BOUNDARY.slice(0, -1)}`),
        ),
      })
      .map(({ name, filename, content }) =>
        part(
          `Content-Disposition: form-data; name="${name}"${filename === undefined ? '' : `; filename="${filename}"`}`,
          content,
        ),
      );
    const body = fc
      .array(fc.oneof(anyPart, fc.constant(plainFile)), { maxLength: 4 })
      .map((parts) => parts.join('') + end);
    const damage = fc.option(fc.record({ at: fc.nat(300), cut: fc.nat(4), with: fc.string({ maxLength: 3 }) }), {
      nil: undefined,
    });
    await fc.assert(
      fc.asyncProperty(body, damage, async (whole, harm) => {
        const text = harm ? whole.slice(0, harm.at) + harm.with + whole.slice(harm.at + harm.cut) : whole;
        await sameBothWays(Buffer.from(text));
      }),
      { numRuns: 400 },
    );
  });

  test('gives back what was made of the file where the sender is gone meanwhile', async () => {
    const controller = new AbortController();
    const discarded: string[] = [];
    const started = Promise.withResolvers<void>();
    const taken = Promise.withResolvers<string>();
    const upload = readUpload(Buffer.from(plainFile + end), CONTENT_TYPE, {
      maxBytes: 100,
      signal: controller.signal,
      async onFile() {
        started.resolve();
        return taken.promise;
      },
      discard: async (made) => void discarded.push(made),
    });
    const failure = upload.catch((error: unknown) => error);
    await started.promise;
    controller.abort();
    taken.resolve('made');
    expect(await failure).toMatchObject({ kind: 'malformed' });
    expect(discarded).toEqual(['made']);
  });
});
