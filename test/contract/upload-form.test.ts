/** The fields of an upload's form: what is wrong is said of each, and nothing that cannot be kept gets any further. */
import { describe, expect, test } from 'bun:test';
import { AppError } from '../../src/kernel/errors.ts';
import { parseUploadFields } from '../../src/services/upload-fields.ts';

function refusalOf(fields: Record<string, string>): string[] {
  try {
    parseUploadFields(fields);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    expect(error.kind).toBe('invalid_request');
    return error.errors?.map(({ path }) => path) ?? [];
  }
  return [];
}

describe('a form', () => {
  for (const [field, value] of [
    ['title', 'a\0b'],
    ['title', 'a\ud800b'],
    ['title', 'x'.repeat(501)],
    ['metadata', '{"a":"\\u0000"}'],
    ['metadata', '{"a":["\\ud800"]}'],
    ['metadata', '{"\\u0000":1}'],
    ['metadata', '[1]'],
    ['metadata', '{'],
    ['metadata', `${'{"a":'.repeat(25)}1${'}'.repeat(25)}`],
    ['source_item', 'a\0'],
    ['priority', '10'],
    ['priority', '-1'],
    ['priority', '1.5'],
    ['priority', 'high'],
    ['visibility', 'everybody'],
    ['source_type', 'a b'],
  ] as const) {
    test(`is refused with ${field} ${JSON.stringify(value).slice(0, 30)}`, () => {
      expect(refusalOf({ [field]: value })).toEqual([field]);
    });
  }

  test('says everything that is wrong at once', () => {
    expect(refusalOf({ title: '\0', priority: '99', visibility: 'x' }).sort()).toEqual([
      'priority',
      'title',
      'visibility',
    ]);
  });

  test('with empty fields is one without them', () => {
    const empty = parseUploadFields({ title: ' ', priority: '', visibility: '', metadata: '', source_type: '' });
    expect(empty).toEqual(parseUploadFields({}));
    expect(empty).toMatchObject({ priority: 5, visibility: 'tenant', metadata: {}, title: undefined });
  });
});
