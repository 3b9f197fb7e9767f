import { describe, expect, test } from 'bun:test';
import type { AnswerRequest, Passage } from '../../../src/contracts/index.ts';
import { composeAnswer, createBuiltinChat } from '../../../src/llm/builtin-chat.ts';
import { citedNumbers } from '../../../src/retrieval/quotes.ts';
import { collect } from '../../contract/chat-provider.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const passage = (n: number, text: string, change: Partial<Passage> = {}): Passage => ({
  n,
  title: '',
  page: null,
  headings: [],
  text,
  score: 1 / n,
  ...change,
});
const ask = (question: string, passages: Passage[], history: AnswerRequest['history'] = []) =>
  composeAnswer({ question, passages, history }).text;

const panthers = passage(
  1,
  'The Panthers defense gave up just 308 points, ranking sixth in the league. Kawann Short led the team in sacks with 11. Jared Allen was the active career leader with 136.',
);
const warsaw = passage(
  2,
  'Warsaw lies on the Vistula. In 1939 the city had 1,300,000 inhabitants. Its parks are large.',
);

describe('extractive answers', () => {
  test('picks the sentence that answers, says what it is, and cites', () => {
    const answer = ask('Who led the Panthers team in sacks?', [panthers, warsaw]);
    expect(answer).toStartWith('Extracted from your documents (no language model configured):');
    expect(answer).toContain('Kawann Short led the team in sacks with 11. [1]');
    expect(citedNumbers(answer)).not.toContain(2);
  });

  test('answers Chinese and Japanese questions in their language', () => {
    const zh = ask('黑豹队的防守丢了多少分？', [
      passage(1, '黑豹队的防守只丢了 308分，在联赛中排名第六。球队总部在夏洛特。'),
    ]);
    expect(zh).toStartWith('以下内容摘自您的文档');
    expect(zh).toContain('308分，在联赛中排名第六。 [1]');
    const ja = ask('開館時間は何時ですか？', [passage(1, '図書館の開館時間は九時です。駐車場はありません。')]);
    expect(ja).toStartWith('文書からの抜粋です');
    expect(ja).toContain('図書館の開館時間は九時です。 [1]');
  });

  test('prefers a sentence with a number where one is asked for', () => {
    const answer = ask('How many inhabitants has Warsaw?', [
      passage(1, 'Inhabitants of Warsaw love it. Warsaw counts 1,300,000 inhabitants.'),
    ]);
    expect(answer.split('\n\n')[1]).toContain('1,300,000');
  });

  test('says plainly when nothing supports an answer', () => {
    expect(ask('What is the boiling point of tungsten?', [panthers, warsaw])).toStartWith(
      'Your documents say nothing about this.',
    );
    expect(ask('钨的沸点是多少？', [])).toStartWith('您的文档中没有找到');
  });

  test('understands a follow-up by the question before', () => {
    const budgets = passage(
      1,
      'The budget of the harbour was 4 million in 2022. The budget of the harbour was 6 million in 2023. Ships arrive daily.',
    );
    const answer = ask(
      'And in 2023?',
      [budgets],
      [
        { role: 'user', content: 'What was the budget of the harbour in 2022?' },
        { role: 'assistant', content: '4 million [1]' },
      ],
    );
    expect(answer.split('\n\n')[1]).toBe('The budget of the harbour was 6 million in 2023. [1]');
  });

  test('takes what a heading says into account', () => {
    const under = passage(1, 'Visitors pay 12 euros. Dogs are welcome.', { headings: ['Aldmoor castle'] });
    expect(ask('What do visitors of Aldmoor castle pay?', [under])).toContain('Visitors pay 12 euros. [1]');
  });

  test('turns bracketed numbers of the document into something that is no citation', () => {
    const answer = ask('What is the height of the tower?', [
      passage(1, 'The height of the tower is 80 m.[7] It is old.'),
    ]);
    expect(citedNumbers(answer)).toEqual([1]);
  });

  test('streams at the pace it is given', async () => {
    const clock = createManualClock();
    const chat = createBuiltinChat({ pace: { tokensPerSecond: 50, clock } });
    const answer = collect(
      chat.answer({ question: 'Vistula?', history: [], passages: [warsaw] }, new AbortController().signal),
    );
    expect(await clock.sleeping()).toBe(20);
    let finished = false;
    void answer.then(() => {
      finished = true;
    });
    clock.advance(20);
    while (!finished) {
      await Promise.race([answer, clock.sleeping()]);
      clock.advance(20);
    }
    expect((await answer).text).toContain('Warsaw lies on the Vistula. [2]');
  });
});
