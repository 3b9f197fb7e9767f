/** What PostgreSQL does for a statement of a repository, from its own account of having done it. */
import type { Sql } from '../../src/db/database.ts';

interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Join Filter'?: number;
  Plans?: PlanNode[];
}

export interface PlanStep {
  kind: string;
  table: string | undefined;
  index: string | undefined;
  /** Rows that it read, given on or not. */
  rows: number;
}

function stepsOf(node: PlanNode): PlanStep[] {
  const dropped = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0);
  const step = {
    kind: node['Node Type'],
    table: node['Relation Name'],
    index: node['Index Name'],
    rows: (node['Actual Rows'] + dropped) * node['Actual Loops'],
  };
  return [step, ...(node.Plans ?? []).flatMap(stepsOf)];
}

/**
 * Runs `statement` with an `sql` that explains what it is given instead; returns the steps of the plan, outermost first.
 * For functions that send one statement without fragments and do not look at its rows.
 */
export async function planOf(sql: Sql, statement: (sql: Sql) => Promise<unknown>): Promise<PlanStep[]> {
  const explaining = (strings: TemplateStringsArray, ...values: never[]) => {
    const [first = '', ...rest] = strings;
    const texts = [`explain (analyze, format json) ${first}`, ...rest];
    return sql(Object.assign(texts, { raw: texts }), ...values);
  };
  const rows = (await statement(explaining as unknown as Sql)) as { 'QUERY PLAN': { Plan: PlanNode }[] }[];
  const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
  if (!plan) throw new Error('The statement was not explained.');
  return stepsOf(plan);
}
