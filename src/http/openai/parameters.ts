/** Schemas of what requests below `/v1` have in common. A parameter that is null counts as one that is not there. */
import { type ObjectOptions, type TObject, type TProperties, type TSchema, Type } from '@sinclair/typebox';
import { Nullable } from '../../contracts/index.ts';

export const optional = <T extends TSchema>(schema: T) => Type.Optional(Nullable(schema));

/** A body; a parameter that it does not name is refused, as OpenAI's server does, rather than silently without effect. */
export const Parameters = <T extends TProperties>(properties: T, options: ObjectOptions = {}): TObject<T> =>
  Type.Object(properties, { ...options, additionalProperties: Type.Never() });
