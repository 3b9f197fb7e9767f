import { describe, expect, test } from 'bun:test';
import { attachmentDisposition } from '../../../src/http/responses.ts';

describe('a content disposition', () => {
  test('has an ASCII name and the real one', () => {
    expect(attachmentDisposition('手册 1.pdf')).toBe(
      `attachment; filename="__ 1.pdf"; filename*=UTF-8''%E6%89%8B%E5%86%8C%201.pdf`,
    );
  });

  test.each(['a"; filename="b.exe', 'a\r\nset-cookie: x=1', 'a\\"b', "it's (1)*.txt", 'half \ud83d.txt', 'a%22b'])(
    'cannot be broken out of by %j',
    (filename) => {
      const header = attachmentDisposition(filename);
      expect(header).toMatch(/^attachment; filename="[^"\\\r\n]*"; filename\*=UTF-8''[A-Za-z0-9%._~!$&+^`|{}#-]*$/);
      expect(() => new Headers({ 'content-disposition': header })).not.toThrow();
    },
  );
});
