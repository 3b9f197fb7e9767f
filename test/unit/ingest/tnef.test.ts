/** Messages as Outlook packs them for itself, alone and within a mail. */
import { describe, expect, test } from 'bun:test';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { EML, MSG, TNEF } from '../../../src/ingest/media-types.ts';
import { readTnef } from '../../../src/ingest/tnef.ts';
import { cfb } from '../../support/documents-cfb.ts';
import { encodeAs } from '../../support/documents-encodings.ts';
import { outcomeOf, readDocument, readNamed } from '../../support/documents-extract.ts';
import { attribute, type Packed, type Property, plainRtf, properties, tnef } from '../../support/documents-tnef.ts';

/** A moment in tenths of microseconds since 1601. */
const sentAt = (iso: string) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE((BigInt(Date.parse(iso)) + 11_644_473_600_000n) * 10_000n);
  return bytes;
};

const person = (kind: number, name: string, address: string): readonly Property[] => [
  [0x0c15, kind],
  [0x3001, name],
  [0x3003, address],
];

const MESSAGE: Packed = {
  message: [
    [0x0037, '退款 policy'],
    [0x0c1a, 'Ann Ä'],
    [0x0c1f, 'ann@example.com'],
    [0x1000, 'Hello Ben\r\n\r\nas agreed'],
  ],
  recipients: [person(1, 'Ben', 'ben@example.com'), person(1, 'Cy', 'Cy'), person(2, 'Di', 'di@example.com')],
  attachments: [
    { title: Buffer.from('PRICES~1.CSV'), data: Buffer.from('a,b\n1,2\n'), properties: [[0x3707, '价格 list.csv']] },
    { title: Buffer.from('plain.txt'), data: Buffer.from('plain') },
    {
      properties: [
        [0x3707, 'seen.png'],
        [0x3701, Buffer.from('x')],
        [0x7ffe, 1, 0x0b],
      ],
    },
  ],
};
const TEXT =
  '# 退款 policy\n\nFrom: Ann Ä <ann@example.com>\nTo: Ben <ben@example.com>, Cy\nCc: Di <di@example.com>\nAttachments: 价格 list.csv, plain.txt\n\nHello Ben\n\nas agreed';

const read = (packed: Packed) => readDocument(tnef(packed), TNEF);

describe('a packed message', () => {
  test('says who wrote what to whom, and hands its attachments on but for hidden ones', async () => {
    const { text, title, files } = await readNamed(tnef(MESSAGE), 'winmail.dat');
    expect(text).toBe(TEXT);
    expect(title).toBe('退款 policy');
    expect(files.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()])).toEqual([
      ['价格 list.csv', 'a,b\n1,2\n'],
      ['plain.txt', 'plain'],
    ]);
  });

  test('says when it was sent, and is read in the code page that it names', async () => {
    const moment = Buffer.concat([Buffer.from([1, 0, 0, 0]), Buffer.from([0x40, 0, 0x39, 0])]);
    const list = Buffer.concat([moment, sentAt('2026-03-02T10:00:00Z')]);
    const extra = [attribute(0x00069003, list), attribute(0x0002800c, encodeAs('gb18030', '退款政策'))];
    expect((await read({ codePage: 936, extra })).text).toBe('Date: 2026-03-02T10:00:00.000Z\n\n退款政策');
    const unknown = [attribute(0x0002800c, encodeAs('gb18030', '退款政策在这里，请大家注意查看'))];
    expect((await read({ codePage: 4242, extra: unknown })).text).toBe('退款政策在这里，请大家注意查看');
  });

  test('of HTML or rich text alone is read as well', async () => {
    const html = Buffer.from('<p>Dear <b>Ben</b></p>');
    expect((await read({ message: [[0x1013, html]] })).text).toBe('Dear Ben');
    const packed = plainRtf('{\\rtf1\\ansi Dear Ben\\par second line}');
    expect((await read({ message: [[0x1009, packed]] })).text).toBe('Dear Ben\n\nsecond line');
    expect(
      (
        await read({
          message: [
            [0x0037, 'S'],
            [0x1009, Buffer.from('noise')],
          ],
        })
      ).text,
    ).toBe('# S');
  });

  test('holds other messages as files that are read as it is', async () => {
    const inner = tnef({
      message: [
        [0x0037, 'Inner'],
        [0x1000, 'within'],
      ],
    });
    const data = Buffer.concat([Buffer.alloc(16), inner]);
    const { files } = await read({
      ...MESSAGE,
      attachments: [
        {
          properties: [
            [0x3705, 5],
            [0x3001, 'Inner'],
            [0x3701, data, 0x0d],
          ],
        },
      ],
    });
    expect(files.map(({ name }) => name)).toEqual(['Inner.tnef']);
    expect((await readNamed(files[0]?.bytes ?? '', 'Inner.tnef')).text).toBe('# Inner\n\nwithin');
  });

  test('skips properties with names, several values and numbers of all lengths', async () => {
    const long = (...values: number[]) => Buffer.from(new Uint32Array(values).buffer);
    const name = Buffer.from('Keywords', 'utf16le');
    const list = Buffer.concat([
      long(5),
      // A list of two texts under a name of its own.
      long(0x8000_101f),
      Buffer.alloc(16),
      long(1, name.length),
      name,
      long(2, 4),
      Buffer.from('a\0\0\0'),
      long(4),
      Buffer.from('b\0\0\0'),
      // A number under a number of its own.
      long(0x8001_0003),
      Buffer.alloc(16),
      long(0, 7, 42),
      long(0x0017_0014),
      Buffer.alloc(8),
      long(0x3013_0048),
      Buffer.alloc(16),
      properties([[0x1000, 'behind them']]).subarray(4),
    ]);
    expect((await read({ extra: [attribute(0x00069003, list)] })).text).toBe('behind them');
  });

  const cases: [string, Uint8Array, string][] = [
    ['a signature alone', tnef({}).subarray(0, 8), 'corrupt'],
    ['nothing said', tnef({}), 'empty'],
    ['values longer than it is', tnef({ extra: [attribute(0x00069003, Buffer.alloc(40, 0xff))] }), 'empty'],
    ['attributes longer than it is', Buffer.concat([tnef({}).subarray(0, 6), Buffer.alloc(100, 0xff)]), 'corrupt'],
    ['more recipients than it has bytes', tnef({ extra: [attribute(0x00069004, Buffer.alloc(8, 0xff))] }), 'empty'],
  ];
  for (const [title, content, code] of cases) {
    test(`of ${title}: ${code}`, async () => expect(await outcomeOf(readDocument(content, TNEF))).toBe(code));
  }

  test('cut off anywhere is read as far as it goes, or is called damaged', () => {
    const whole = tnef(MESSAGE);
    for (let end = 0; end < whole.length; end++) {
      try {
        readTnef(whole.subarray(0, end));
      } catch (error) {
        expect(error).toBeInstanceOf(ExtractError);
      }
    }
    expect(readTnef(whole.subarray(0, -5)).attachments).toHaveLength(3);
  });
});

describe('a mail', () => {
  const mail = (attached: Uint8Array, text: string) =>
    [
      'From: Ann <ann@example.com>',
      'Subject: Hi',
      'MIME-Version: 1.0',
      'Content-Type: multipart/mixed; boundary=b',
      '',
      '--b',
      'Content-Type: text/plain',
      '',
      text,
      '--b',
      'Content-Type: application/ms-tnef; name="winmail.dat"',
      'Content-Disposition: attachment; filename="winmail.dat"',
      'Content-Transfer-Encoding: base64',
      '',
      Buffer.from(attached).toString('base64'),
      '--b--',
      '',
    ].join('\r\n');

  test('has what Outlook packed into it as its own attachments, and as its text where it has none', async () => {
    const { text, files } = await readDocument(mail(tnef(MESSAGE), 'Outer text'), EML);
    expect(text).toBe('# Hi\n\nFrom: Ann <ann@example.com>\nAttachments: 价格 list.csv, plain.txt\n\nOuter text');
    expect(files.map(({ name }) => name)).toEqual(['价格 list.csv', 'plain.txt']);
    expect((await readDocument(mail(tnef(MESSAGE), ''), EML)).text).toEndWith('Hello Ben\n\nas agreed');
  });

  test('keeps what is broken there as the file that it is', async () => {
    const { files, text } = await readDocument(mail(tnef(MESSAGE).subarray(0, 8), 'Outer text'), EML);
    expect(files.map(({ name }) => name)).toEqual(['winmail.dat']);
    expect(text).toEndWith('Attachments: winmail.dat\n\nOuter text');
  });
});

test('a message that Outlook saved with rich text alone is read', async () => {
  const message = cfb({
    '__properties_version1.0': new Uint8Array(32),
    '__substg1.0_0037001F': Buffer.from('Subject', 'utf16le'),
    '__substg1.0_10090102': plainRtf('{\\rtf1\\ansi Dear Ben\\par second line}'),
  });
  expect((await readDocument(message, MSG)).text).toBe('# Subject\n\nDear Ben\n\nsecond line');
});
