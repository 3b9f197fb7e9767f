/** The form of a metadata filter: `{field: value}`, `{field: {operator: value}}`, joined by `and` and `or`. */
import type { MetadataFilter } from '../contracts/index.ts';

const COMPARISONS = new Set(['eq', 'ne', 'gt', 'gte', 'lt', 'lte']);
const MEMBERSHIPS = new Set(['in', 'nin']);
const MOST_LEVELS = 8;
const MOST_CONDITIONS = 50;
const MOST_VALUES = 100;

/** JSON reads 1e999 as a number that it cannot write. */
function isValue(value: unknown): boolean {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isOperand(operator: string, value: unknown): boolean {
  if (MEMBERSHIPS.has(operator)) return Array.isArray(value) && value.length <= MOST_VALUES && value.every(isValue);
  return COMPARISONS.has(operator) && isValue(value);
}

function isCondition(value: unknown): boolean {
  if (!isMap(value)) return isValue(value);
  const operands = Object.entries(value);
  return operands.length > 0 && operands.every(([operator, operand]) => isOperand(operator, operand));
}

/** Bounded in depth and size: each condition becomes a part of a query. */
export function isMetadataFilter(value: unknown): value is MetadataFilter {
  let conditions = 0;
  const check = (filter: unknown, levels: number): boolean => {
    if (!isMap(filter) || levels === 0) return false;
    return Object.entries(filter).every(([key, entry]) => {
      if ((key === 'and' || key === 'or') && Array.isArray(entry)) return entry.every((one) => check(one, levels - 1));
      conditions += 1;
      return conditions <= MOST_CONDITIONS && key !== '' && isCondition(entry);
    });
  };
  return check(value, MOST_LEVELS);
}
