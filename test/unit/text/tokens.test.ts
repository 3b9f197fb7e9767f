import { describe, expect, test } from 'bun:test';
import { encode as cl100k } from 'gpt-tokenizer/encoding/cl100k_base';
import { encode as o200k } from 'gpt-tokenizer/encoding/o200k_base';
import { estimateTokens, tokenCost } from '../../../src/kernel/text/tokens.ts';
import { hasChunkingData, readCorpus } from '../../support/documents-questions.ts';
import { printTable } from '../../support/documents-report.ts';

const SAMPLES: Record<string, string> = {
  English:
    'The harbour of Aldmoor was opened in 1921 and enlarged twice; today it handles about 3,400 ships a year. Visitors reach it by tram.',
  Chinese: '黑豹队的防守只丢了308分，在联赛中排名第六，同时也以24次拦截领先国家橄榄球联盟，并且四次入选职业碗。',
  Japanese:
    '東京の会社が二千二十四年に開発を始めました。検索は日本語の文章にも対応しています。彼は昨日、図書館で新しい本を三冊借りました。',
  Korean: '사용자는 문서를 업로드하고 시스템은 그 내용에 대한 질문에 답합니다. 검색은 한국어에서도 작동합니다.',
  Russian: 'Пользователь загружает документы, а система отвечает на вопросы по их содержанию.',
  German: 'Der Benutzer lädt Dokumente hoch und das System beantwortet Fragen zu ihrem Inhalt.',
  code: 'export function estimateTokens(text: string): number {\n  let tokens = 0;\n  for (const unit of text) tokens += costOf(unit);\n  return Math.ceil(tokens);\n}\n',
};

describe('token estimate', () => {
  test.each(Object.entries(SAMPLES))('of %s is within a quarter of a real vocabulary', (_, text) => {
    const real = o200k(text).length;
    expect(estimateTokens(text) / real).toBeWithin(0.75, 1.25);
  });

  test('is 0 for nothing and linear for a run without breaks', () => {
    expect(estimateTokens('')).toBe(0);
    expect(estimateTokens('字'.repeat(20_000))).toBeWithin(16_990, 17_010);
  });
});

const options = { disallowedSpecial: new Set<string>() };
const samples = {
  english:
    'The inventory reconciliation reveals several key findings, and the primary variance driver requires immediate investigation. '.repeat(
      20,
    ),
  chinese: '员工请假应当提前三个工作日提出书面申请，经部门负责人批准后方可休假；病假需要提供医院证明。'.repeat(20),
  japanese: '東京都の天気予報をお伝えします。データベースに接続できませんでした。'.repeat(20),
  german:
    'Die Gesellschaft hat im vergangenen Geschäftsjahr einen Umsatz von mehreren Millionen Euro erwirtschaftet. '.repeat(
      20,
    ),
  code: 'export function add(a: number, b: number): number {\n  return a + b; // the sum\n}\nconst x = [1, 2, 3].map((n) => n * 2);\n'.repeat(
    20,
  ),
  table: Array.from({ length: 60 }, (_, i) => `| item ${i} | ${i * 79} | 2024-0${(i % 9) + 1}-11 |`).join('\n'),
};

function compare(texts: Record<string, string>) {
  const rows = Object.entries(texts).map(([name, text]) => {
    const estimate = estimateTokens(text);
    const [small, large] = [o200k(text, options).length, cl100k(text, options).length];
    return { name, estimate, o200k: small, cl100k: large, low: estimate / large, high: estimate / small };
  });
  printTable('Estimated and real tokens', rows);
  return rows;
}

test('the estimate is never far from what real tokenizers count', () => {
  for (const { low, high } of compare(samples)) {
    expect(high).toBeGreaterThan(0.75);
    expect(low).toBeLessThan(1.6);
  }
});

test.skipIf(!hasChunkingData)('the estimate is close on real English text', async () => {
  const names = ['state_of_the_union', 'finance', 'pubmed', 'wikitexts'];
  const texts = await Promise.all(
    names.map(async (name) => [name, (await readCorpus(name)).slice(0, 50_000)] as const),
  );
  for (const { low, high } of compare(Object.fromEntries(texts))) {
    expect(low).toBeGreaterThan(0.9);
    expect(high).toBeLessThan(1.1);
  }
});

test('costs of parts add up to the cost of the whole', () => {
  const text = Object.values(samples).join('');
  expect(tokenCost(text, 0, 777) + tokenCost(text, 777, text.length)).toBe(tokenCost(text, 0, text.length));
});
