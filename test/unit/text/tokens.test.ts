import { describe, expect, test } from 'bun:test';
import { encode } from 'gpt-tokenizer/encoding/o200k_base';
import { estimateTokens } from '../../../src/kernel/text/tokens.ts';

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
    const real = encode(text).length;
    expect(estimateTokens(text) / real).toBeWithin(0.75, 1.25);
  });

  test('is 0 for nothing and linear for a run without breaks', () => {
    expect(estimateTokens('')).toBe(0);
    expect(estimateTokens('字'.repeat(20_000))).toBeWithin(16_990, 17_010);
  });
});
