import { describe, expect, test } from 'bun:test';
import { contentKind } from '../../../src/retrieval/content-kind.ts';

describe('the kind of content', () => {
  test.each([
    ['prose', ''],
    ['prose', 'The harbour is old.\nIts tariff is low: two coins.\nShips like it.'],
    ['prose', 'See https://example.com/tariff for what is due.'],
    ['prose', 'It offers:\n* fair tariffs;\n* quick cranes;\n* a light that is seen from afar.\nShips like it.'],
    ['talk', '[10:32] Ada Lovelace: did you ship it?\n[10:33] Bob: yes, this morning.'],
    ['talk', '12/05/23, 10:33 - Anna Berg: hello\n12/05/23, 10:34 - Bob: hello you'],
    ['talk', '10:32 <ada> did you ship it?\n10:33 <bob> yes'],
    ['talk', 'user: When does it ship?\nassistant: Tomorrow morning.\nThat is all I know.'],
    ['talk', '用户：什么时候发货？\n客服：明天上午。'],
    ['turn', '[8 May 2023, 1:56 pm] Caroline: I went to a support group yesterday.'],
    ['turn', '**Speaker 2 (00:14):** And then it rained.'],
    ['code', 'function tariff(ship) {\n  const due = ship.weight * 2;\n  return due;\n}\nif (due) {\n'],
    [
      'code',
      'def tariff(ship):\n    due = ship.weight * 2\n    if due > LIMIT:\n        raise ValueError(due)\n    return due\n',
    ],
    [
      'code',
      'import os\nfrom pathlib import Path\n\nROOT = Path(os.sep)\nself.names = [one for one in ROOT.iterdir()]\n',
    ],
  ] as const)('is %s by the form of its lines: %j', (kind, text) => {
    expect(contentKind(text)).toBe(kind);
  });

  test('is told in time that grows with the text alone', () => {
    const started = performance.now();
    for (const text of [
      'a'.repeat(400_000),
      '[('.repeat(200_000),
      'a.b'.repeat(100_000),
      `${'x, '.repeat(100_000)}= 1`,
    ]) {
      contentKind(text);
      contentKind(`${text}\n`.repeat(4));
    }
    expect(performance.now() - started).toBeLessThan(15_000);
  });
});
