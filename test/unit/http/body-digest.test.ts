import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBodyDigest } from '../../../src/http/body-digest.ts';

function digestOf(type: string, body: string, size = Number.POSITIVE_INFINITY): string {
  const digest = createBodyDigest(type);
  const bytes = Buffer.from(body);
  for (let at = 0; at < bytes.length; at += size) digest.update(bytes.subarray(at, at + size));
  return Buffer.from(digest.digest()).toString('hex');
}

const formOf = (boundary: string, text: string) =>
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n${text}\r\n--${boundary}--\r\n`;
const typeOf = (boundary: string) => `multipart/form-data; boundary=${boundary}`;

test('the digest of a body does not depend on how it is cut, nor on the boundary of a form', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.integer({ min: 1, max: 40 }), (text, size) => {
      const whole = digestOf(typeOf('----first7MA4'), formOf('----first7MA4', text));
      expect(digestOf(typeOf('----first7MA4'), formOf('----first7MA4', text), size)).toBe(whole);
      expect(digestOf(typeOf('"another-0-boundary"'), formOf('another-0-boundary', text), size)).toBe(whole);
      expect(digestOf(typeOf('----first7MA4'), formOf('----first7MA4', `${text}.`), size)).not.toBe(whole);
    }),
  );
});

test('the same bytes of another type are another body', () => {
  expect(digestOf('application/json', '{}')).not.toBe(digestOf('text/plain', '{}'));
  expect(digestOf('application/json', '{}')).toBe(digestOf('Application/JSON; charset=utf-8', '{}'));
});
