/** Parts of the settings of several kinds. */
import { Type } from '@sinclair/typebox';

export const HttpUrl = (description: string) =>
  Type.String({ pattern: '^https?://', minLength: 10, maxLength: 2_000, description });
export const SmallInteger = (minimum: number, maximum: number, fallback: number, description: string) =>
  Type.Optional(Type.Integer({ minimum, maximum, default: fallback, description }));
