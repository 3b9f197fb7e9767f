/** Search filters as SQL conditions on `documents d`. Values are always parameters; field names too. `fields`: the jsonb they are in. */
import type postgres from 'postgres';
import type { FilterValue, MetadataFilter, Operator, SearchFilter } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';

type Fragment = postgres.Fragment;

const MAX_DEPTH = 8;
const OPERATORS: ReadonlySet<string> = new Set<Operator>(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin']);

function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', 'The filter is not valid.', { errors: [{ path, message }] });
}

function isScalar(value: unknown): value is FilterValue {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** Equal, or an array that holds the value: `{tags: "x"}` finds `["x", "y"]`. A missing field equals null. */
function equals(sql: Sql, fields: Fragment, field: string, value: FilterValue): Fragment {
  const json = JSON.stringify(value);
  // Never null: what is not equal includes what is missing.
  return sql`(coalesce(${fields} -> ${field}, 'null') = ${json}::text::jsonb
    or (coalesce(jsonb_typeof(${fields} -> ${field}), '') = 'array' and ${fields} -> ${field} @> ${json}::text::jsonb))`;
}

/** Equal to one of these. One condition, however many there are: five thousand took a second to plan. */
function isAmong(sql: Sql, fields: Fragment, field: string, values: readonly FilterValue[]): Fragment {
  const wanted = sql`${values.map((value) => JSON.stringify(value))}::text[]::jsonb[]`;
  return sql`(coalesce(${fields} -> ${field}, 'null') = any(${wanted})
    or exists (
      select from jsonb_array_elements(
        case when jsonb_typeof(${fields} -> ${field}) = 'array' then ${fields} -> ${field} else '[]' end) as e(value)
      where e.value = any(${wanted})))`;
}

function compare(sql: Sql, fields: Fragment, field: string, operator: Operator, value: FilterValue): Fragment {
  const json = JSON.stringify(value);
  // jsonb orders values of one type as one expects, and types among themselves in a way that nobody expects.
  const sameType = sql`jsonb_typeof(${fields} -> ${field}) = jsonb_typeof(${json}::text::jsonb)`;
  switch (operator) {
    case 'gt':
      return sql`(${sameType} and ${fields} -> ${field} > ${json}::text::jsonb)`;
    case 'gte':
      return sql`(${sameType} and ${fields} -> ${field} >= ${json}::text::jsonb)`;
    case 'lt':
      return sql`(${sameType} and ${fields} -> ${field} < ${json}::text::jsonb)`;
    case 'lte':
      return sql`(${sameType} and ${fields} -> ${field} <= ${json}::text::jsonb)`;
    case 'ne':
      return sql`not ${equals(sql, fields, field, value)}`;
    default:
      return equals(sql, fields, field, value);
  }
}

function anyOf(sql: Sql, conditions: Fragment[]): Fragment {
  return conditions.reduce((all, next) => sql`(${all} or ${next})`, sql`false`);
}

function allOf(sql: Sql, conditions: Fragment[]): Fragment {
  return conditions.reduce((all, next) => sql`(${all} and ${next})`, sql`true`);
}

function field(sql: Sql, fields: Fragment, name: string, condition: unknown, path: string): Fragment {
  if (isScalar(condition)) return equals(sql, fields, name, condition);
  if (typeof condition !== 'object' || condition === null || Array.isArray(condition)) {
    throw invalid(path, 'a value or an object of operators is needed');
  }
  const entries = Object.entries(condition);
  if (entries.length === 0) throw invalid(path, 'an operator is needed');
  return allOf(
    sql,
    entries.map(([operator, value]) => {
      if (!OPERATORS.has(operator))
        throw invalid(`${path}/${operator}`, `unknown operator; use ${[...OPERATORS].join(', ')}`);
      if (operator === 'in' || operator === 'nin') {
        if (!Array.isArray(value) || !value.every(isScalar))
          throw invalid(`${path}/${operator}`, 'an array of values is needed');
        const any = isAmong(sql, fields, name, value);
        return operator === 'in' ? any : sql`not ${any}`;
      }
      if (!isScalar(value)) throw invalid(`${path}/${operator}`, 'a single value is needed');
      return compare(sql, fields, name, operator as Operator, value);
    }),
  );
}

function metadata(sql: Sql, fields: Fragment, filter: MetadataFilter, path: string, depth: number): Fragment {
  if (depth > MAX_DEPTH) throw invalid(path, `nested deeper than ${MAX_DEPTH}`);
  if (typeof filter !== 'object' || filter === null || Array.isArray(filter))
    throw invalid(path, 'an object is needed');
  return allOf(
    sql,
    Object.entries(filter).map(([name, condition]) => {
      const here = `${path}/${name}`;
      // A field may have one of these names too.
      if ((name !== 'and' && name !== 'or') || !Array.isArray(condition))
        return field(sql, fields, name, condition, here);
      const parts = condition.map((part: MetadataFilter, index) =>
        metadata(sql, fields, part, `${here}/${index}`, depth + 1),
      );
      return name === 'and' ? allOf(sql, parts) : anyOf(sql, parts);
    }),
  );
}

/** Throws `invalid_request` for a filter that is none. */
export function whereDocument(sql: Sql, filter: SearchFilter): Fragment {
  const conditions: Fragment[] = [];
  if (filter.document_ids) conditions.push(sql`d.id = any(${filter.document_ids}::uuid[])`);
  if (filter.source_type !== undefined) conditions.push(sql`d.source_type = ${filter.source_type}`);
  if (filter.metadata) conditions.push(metadata(sql, sql`d.metadata`, filter.metadata, 'filter/metadata', 1));
  if (filter.stores) {
    const { ids, attributes } = filter.stores;
    const fitting = attributes ? metadata(sql, sql`f.attributes`, attributes, 'filters', 1) : sql`true`;
    conditions.push(sql`exists (
      select from vector_store_files f
      where f.tenant_id = d.tenant_id and f.document_id = d.id and f.store_id = any(${ids}::uuid[]) and ${fitting})`);
  }
  return allOf(sql, conditions);
}
