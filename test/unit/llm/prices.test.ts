import { describe, expect, test } from 'bun:test';
import { createPrices, parsePrices } from '../../../src/llm/prices.ts';

describe('prices', () => {
  test('are a whole number of billionths of a dollar, by what is read and what is written', () => {
    const prices = createPrices();
    expect(prices.nanosOf('gpt-4o-mini', { input: 1_000_000, output: 0 })).toBe(150_000_000);
    expect(prices.nanosOf('gpt-4o-mini', { input: 1, output: 3 })).toBe(150 + 1_800);
    expect(prices.nanosOf('text-embedding-3-small', { input: 1_000, output: 0 })).toBe(20_000);
    expect(prices.nanosOf('dreamhub-extractive', { input: 5, output: 5 })).toBe(0);
  });

  test('are unknown of what is not listed, and what is said here wins', () => {
    const prices = createPrices(parsePrices('{"qwen2.5": {"input": 0.1}, "gpt-4o-mini": {"input": 1, "output": 2}}'));
    expect(prices.nanosOf('llama', { input: 1, output: 1 })).toBeNull();
    expect(prices.nanosOf('constructor', { input: 1, output: 1 })).toBeNull();
    expect(prices.nanosOf('qwen2.5', { input: 10, output: 10 })).toBe(1_000);
    expect(prices.nanosOf('gpt-4o-mini', { input: 1, output: 1 })).toBe(3_000);
  });

  test.each([
    '',
    '[]',
    'null',
    '1',
    '{"m": 1}',
    '{"m": null}',
    '{"m": {}}',
    '{"m": {"input": -1}}',
    '{"m": {"input": "1"}}',
  ])('that say %j are refused', (text) => {
    expect(() => parsePrices(text)).toThrow();
  });

  test('of which one is misspelt are refused', () => {
    expect(() => parsePrices('{"m": {"input": 1, "ouput": 2}}')).toThrow('m needs');
  });
});
