import { type Static, Type } from '@sinclair/typebox';
import { TASK_STATUSES } from '../../contracts/index.ts';
import { PageQuery } from './common.ts';
import { oneOf } from './one-of.ts';

export const TaskListQuery = Type.Composite([PageQuery, Type.Object({ status: Type.Optional(oneOf(TASK_STATUSES)) })]);
export type TaskListQuery = Static<typeof TaskListQuery>;
