import { describe, expect, test } from 'bun:test';
import { decode, detectCharset } from '../../../src/ingest/charset.ts';
import { encodeAs, encodeUtf32 } from '../../support/documents-encodings.ts';

const SIMPLIFIED = [
  '会议纪要',
  '发票',
  '今天天气很好。',
  '员工手册第三章：请假制度',
  '数据库连接失败，请稍后再试。',
  '人工智能正在改变我们的生活方式。',
  '合同编号：2024-001，甲方：北京某某科技有限公司',
  '春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。',
  'The quick 测试 brown fox',
];
const TRADITIONAL = [
  '會議紀要',
  '發票',
  '今天天氣很好。',
  '員工手冊第三章：請假制度',
  '資料庫連線失敗，請稍後再試。',
  '人工智慧正在改變我們的生活方式。',
  '退款政策：七天鑑賞期內可無條件退貨。',
  '春眠不覺曉，處處聞啼鳥。',
  '香港特別行政區政府',
];
const JAPANESE = [
  'こんにちは、世界。',
  '東京都の天気予報',
  '株式会社の年次報告書',
  '名前,年齢,住所\n佐藤太郎,30,東京\n',
];
const KOREAN = ['안녕하세요 세계', '오늘 날씨가 좋습니다.', '한국어 문서'];
const WESTERN = ['naïve café', 'déjà vu à l’été', 'Grüße aus München', 'Price: 5 € – “quoted”', 'El niño comió piñas'];
const CYRILLIC = ['Привет, мир!', 'Договор поставки № 5 от 3 марта', 'Сегодня хорошая погода'];

function reads(bytes: Uint8Array): string | undefined {
  const charset = detectCharset(bytes, true);
  return charset && decode(bytes, charset);
}

describe('the encoding of a short text', () => {
  for (const [charset, texts] of Object.entries({
    gb18030: SIMPLIFIED,
    big5: TRADITIONAL,
    shift_jis: JAPANESE,
    'euc-kr': KOREAN,
    'windows-1252': WESTERN,
    'windows-1251': CYRILLIC,
    'utf-16le': [...SIMPLIFIED, 'hello world', 'Grüße aus München'],
    'utf-16be': [...SIMPLIFIED, ...JAPANESE, 'hello world'],
  })) {
    test(`is found: ${charset}`, () => {
      expect(texts.map((text) => reads(encodeAs(charset, text)))).toEqual(texts);
    });
  }

  test('is found by its byte order mark', () => {
    for (const charset of ['utf-16le', 'utf-16be']) expect(reads(encodeAs(charset, '\ufeff中a'))).toBe('中a');
    for (const little of [true, false]) expect(reads(encodeUtf32('\ufeff中😀a', little))).toBe('中😀a');
    expect(reads(new TextEncoder().encode('\ufeff中a'))).toBe('中a');
  });
});

test('UTF-8 stays UTF-8 with a bad byte in it, or when its end is cut off', () => {
  const bytes = new TextEncoder().encode('一份很长的日志文件，中间有一个坏字节。'.repeat(20));
  const broken = bytes.slice();
  broken[100] = 0xff;
  expect(detectCharset(broken, true)).toBe('utf-8');
  expect(detectCharset(bytes.slice(0, 1000), false)).toBe('utf-8');
});

test('a long English text before Chinese does not hide it', () => {
  const text = `${'All rights reserved. '.repeat(5000)}\n数据库连接失败，请稍后再试。`;
  expect(reads(encodeAs('gb18030', text))).toBe(text);
});

test('random bytes are no text', () => {
  let seed = 7;
  const random = () => {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    return (seed >> 16) & 0xff;
  };
  for (let i = 0; i < 100; i++) expect(detectCharset(Uint8Array.from({ length: 1000 }, random), true)).toBeUndefined();
});
