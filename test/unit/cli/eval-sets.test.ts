import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readSets } from '../../../src/cli/eval/sets.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts';

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const CORPUS = '{"_id": "d1", "title": "One", "text": "first"}\n{"_id": "d2", "text": "second"}\n';
const QUERIES = '{"_id": "q1", "text": "what is first?"}\n{"_id": "q2", "text": "nobody knows"}\n';
const QRELS = 'query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\tgone\t1\nq2\td2\t0\n';

async function beir(name: string, files: Partial<Record<'corpus' | 'queries' | 'qrels', string>>): Promise<string> {
  const path = join(folder.path, name);
  await mkdir(join(path, 'qrels'), { recursive: true });
  const { corpus = CORPUS, queries = QUERIES, qrels = QRELS } = files;
  await Bun.write(join(path, 'corpus.jsonl'), corpus);
  await Bun.write(join(path, 'queries.jsonl'), queries);
  await Bun.write(join(path, 'qrels', 'test.tsv'), qrels);
  return path;
}

async function squad(name: string, content: string): Promise<string> {
  const path = join(folder.path, name);
  await mkdir(path, { recursive: true });
  await Bun.write(join(path, 'part.json'), content);
  return path;
}

describe('a set', () => {
  test("in BEIR's layout keeps grades, and only questions that can be answered", async () => {
    const [set] = await readSets(await beir('good', {}), 'test');
    expect(set).toMatchObject({ name: 'good', notes: ['1 judgements name documents that the corpus does not have'] });
    expect(set?.documents.map(({ id, title }) => [id, title])).toEqual([
      ['d1', 'One'],
      ['d2', ''],
    ]);
    expect(set?.queries).toEqual([{ id: 'q1', text: 'what is first?', relevant: new Map([['d1', 2]]) }]);
  });

  test('is read alike with a mark of its order of bytes, other ends of lines and odd ids', async () => {
    const crlf = (text: string) => `\ufeff${text.replaceAll('\n', '\r\n')}`;
    const corpus =
      '{"_id": "a b/c#1?\u00e9\u6c34", "text": "first", "metadata": {"date": "2023-05-08"}}\n{"_id": 7, "text": ""}\n';
    const path = await beir('odd', {
      corpus: crlf(corpus),
      queries: crlf('{"_id": 1, "text": "what?", "metadata": {}}\n'),
      qrels: crlf('query-id\tcorpus-id\tscore\n1\ta b/c#1?\u00e9\u6c34\t3\n'),
    });
    const [set] = await readSets(path, 'test');
    expect(set?.documents.map(({ id, title }) => [id, title])).toEqual([
      ['a b/c#1?\u00e9\u6c34', ''],
      ['7', ''],
    ]);
    expect(set?.queries).toEqual([{ id: '1', text: 'what?', relevant: new Map([['a b/c#1?\u00e9\u6c34', 3]]) }]);
  });

  test("may have trec_eval's four columns", async () => {
    const [set] = await readSets(await beir('trec', { qrels: 'q1 0 d1 2\nq2 0 d2 0\n' }), 'test');
    expect(set?.queries.map(({ relevant }) => [...relevant])).toEqual([[['d1', 2]]]);
  });

  test('is found one folder deeper too, as archives are unpacked', async () => {
    for (const name of ['deep/two', 'deep/one']) await beir(name, {});
    await mkdir(join(folder.path, 'deep', 'neither'));
    expect((await readSets(join(folder.path, 'deep'), 'test')).map(({ name }) => name)).toEqual(['one', 'two']);
    await expect(readSets(join(folder.path, 'deep', 'neither'), 'test')).rejects.toThrow(/holds no set/);
  });

  test('is read line by line, wherever the pieces of its file end', async () => {
    const rows = Array.from({ length: 4_000 }, (_, at) => ({ _id: `d${at}`, text: '\u6e2f\u53e3'.repeat(at % 90) }));
    const path = await beir('long', { corpus: rows.map((row) => JSON.stringify(row)).join('\n') });
    const [set] = await readSets(path, 'test');
    expect(set?.documents.map(({ text }) => text)).toEqual(rows.map(({ text }) => text));
  });

  test("in SQuAD's form has a document a paragraph", async () => {
    const data = [{ title: 'T', paragraphs: [{ context: 'first', qas: [{ question: 'a?' }, { question: 'b?' }] }] }];
    const [set] = await readSets(await squad('squad', JSON.stringify({ data })), 'test');
    expect(set?.name).toBe('part');
    expect(set?.documents).toEqual([{ id: '0-0', title: '', text: 'first' }]);
    expect(set?.queries.map(({ relevant }) => [...relevant.keys()])).toEqual([['0-0'], ['0-0']]);
  });

  test("in SQuAD's form asks only what can be answered, and takes a paragraph that is there twice for one document", async () => {
    const data = [
      { paragraphs: [{ context: 'first', qas: [{ question: 'a?', is_impossible: false }] }] },
      {
        paragraphs: [
          { context: 'second', qas: [{ question: 'nobody knows', is_impossible: true, answers: [] }] },
          { context: 'first', qas: [{ question: 'b?' }] },
        ],
      },
    ];
    const [set] = await readSets(await squad('squad2', `\ufeff${JSON.stringify({ version: 'v2.0', data })}`), 'test');
    expect(set?.documents.map(({ id, text }) => [id, text])).toEqual([
      ['0-0', 'first'],
      ['1-0', 'second'],
    ]);
    expect(set?.queries.map(({ id, text, relevant }) => [id, text, ...relevant.keys()])).toEqual([
      ['0-0-0', 'a?', '0-0'],
      ['1-1-0', 'b?', '0-0'],
    ]);
    expect(set?.notes).toEqual([
      '1 questions are left out that no paragraph answers',
      '1 paragraphs are there already, and are one document each',
    ]);
    const none = { data: [{ paragraphs: [{ context: 'x', qas: [{ question: 'y', is_impossible: true }] }] }] };
    await expect(readSets(await squad('squad3', JSON.stringify(none)), 'test')).rejects.toThrow(
      'has no questions that',
    );
  });

  test('may say the same line twice, have texts of thousands of equal documents, and judge what is not there by 0', async () => {
    const equal = Array.from({ length: 3_000 }, (_, at) =>
      JSON.stringify({ _id: `e ${at}/\u00e9`, title: null, text: 'same' }),
    );
    const path = await beir('equal', {
      corpus: `${[...equal, equal[7]].join('\r\n')}\r\n`,
      queries:
        '{"_id": "e 5/\u00e9", "text": "same"}\n{"_id": "unjudged", "text": "same"}\n{"_id": "nothing", "text": "same"}\n',
      qrels:
        'query-id\tcorpus-id\tscore\r\ne 5/\u00e9\te 9/\u00e9\t2\r\ne 5/\u00e9\te 10/\u00e9\t0\r\nnothing\te 1/\u00e9\t0\r\n',
    });
    const [set] = await readSets(path, 'test');
    expect(set?.documents).toHaveLength(3_000);
    expect(set?.documents[2_999]).toEqual({ id: 'e 2999/\u00e9', title: '', text: 'same' });
    expect(set?.queries).toEqual([{ id: 'e 5/\u00e9', text: 'same', relevant: new Map([['e 9/\u00e9', 2]]) }]);
  });

  test.each([
    ['a line that is no JSON', { corpus: '{"_id": "d1", "text": "a"}\n{oops\n' }, /corpus\.jsonl:2 is no JSON/],
    ['a document without a text', { corpus: '{"_id": "d1"}\n' }, /corpus\.jsonl:1 needs an _id and a text/],
    [
      'the same id twice',
      { corpus: `${CORPUS}{"_id": "d2", "text": "again"}\n` },
      /corpus\.jsonl:3 has the _id d2 again/,
    ],
    ['an empty file', { queries: '\n' }, /queries\.jsonl is empty/],
    ['judgements of two columns', { qrels: `${QRELS}q1\td2\n` }, /test\.tsv:5 needs three columns/],
    ['no question with an answer', { qrels: 'q9\td1\t1\n' }, /no query of queries\.jsonl has a relevant document/],
  ])('with %s is refused, and says where', async (name, files, message) => {
    const path = await beir(name.replaceAll(/\W/g, '-'), files);
    await expect(readSets(path, 'test')).rejects.toThrow(message);
  });

  test('that is not there, holds nothing, lacks its split or is no SQuAD is refused', async () => {
    await expect(readSets(join(folder.path, 'nowhere'), 'test')).rejects.toThrow('is no folder');
    await mkdir(join(folder.path, 'empty'));
    await expect(readSets(join(folder.path, 'empty'), 'test')).rejects.toThrow('holds no set');
    await expect(readSets(await beir('split', {}), 'dev')).rejects.toThrow('dev.tsv cannot be read');
    await expect(readSets(await squad('list', '[]'), 'test')).rejects.toThrow('is no SQuAD file');
    await expect(readSets(await squad('bare', '{"data": [{"paragraphs": [{}]}]}'), 'test')).rejects.toThrow(
      'data[0].paragraphs[0] needs a context and qas',
    );
  });
});
