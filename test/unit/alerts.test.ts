/** Alerts name metrics that are there, with labels that they have; what Prometheus itself checks is not checked again. */
import { describe, expect, test } from 'bun:test';
import { fileURLToPath } from 'node:url';
import { createMetrics } from '../../src/kernel/metrics.ts';

interface Rules {
  groups: { name: string; rules: { alert: string; expr: string; annotations: Record<string, string> }[] }[];
}

const FILE = fileURLToPath(new URL('../../deploy/prometheus/alerts.yml', import.meta.url));
const rules = (Bun.YAML.parse(await Bun.file(FILE).text()) as Rules).groups.flatMap((group) => group.rules);
const LABELS = new Map(
  createMetrics()
    .registry.getMetricsAsArray()
    .map((metric) => [metric.name, (metric as unknown as { labelNames: string[] }).labelNames]),
);
/** What a histogram tells beside its own name. */
const PARTS = /_(bucket|sum|count)$/;
/** What Prometheus adds to whatever it scrapes, and the bound of a bucket. */
const ADDED = new Set(['job', 'instance', 'le']);

/** Series that an expression asks for, each with the labels that it is asked by. */
function asked(expr: string): { metric: string; labels: string[] }[] {
  return [...expr.matchAll(/\b(dreamhub_\w+)(?:\{([^}]*)\})?/g)].map(([, metric = '', selectors = '']) => ({
    metric,
    labels: [...selectors.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label),
  }));
}

/** Problems of an expression. */
function problems(expr: string): string[] {
  const found: string[] = [];
  const known = new Set<string>();
  for (const { metric, labels } of asked(expr)) {
    const own = LABELS.get(metric) ?? (PARTS.test(metric) ? LABELS.get(metric.replace(PARTS, '')) : undefined);
    if (!own) found.push(`there is no ${metric}`);
    for (const label of own ?? []) known.add(label);
    for (const label of labels) if (own && !own.includes(label)) found.push(`${metric} has no ${label}`);
  }
  if (asked(expr).length === 0) return found;
  for (const [, names = ''] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of names.split(',').map((name) => name.trim())) {
      if (!known.has(label) && !ADDED.has(label)) found.push(`nothing there has ${label}`);
    }
  }
  return found;
}

test('the check finds what is wrong', () => {
  expect(problems('dreamhub_nothing > 1')).toEqual(['there is no dreamhub_nothing']);
  expect(problems('rate(dreamhub_task_total{kind="ingest", state="x"}[5m])')).toEqual([
    'dreamhub_task_total has no state',
  ]);
  expect(problems('sum by (tenant) (dreamhub_queue_length)')).toEqual(['nothing there has tenant']);
  expect(problems('sum by (le) (rate(dreamhub_embedding_seconds_bucket[5m]))')).toEqual([]);
});

test('there are alerts, each under a name of its own', () => {
  expect(rules.length).toBeGreaterThan(10);
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
});

describe('the alert', () => {
  test.each(rules)('$alert asks for what there is, and says what to do', ({ expr, annotations }) => {
    expect(problems(expr)).toEqual([]);
    expect(annotations['summary']).toBeTruthy();
    expect(annotations['action']).toBeTruthy();
  });
});
