/** Embedding spaces as administrators see and make them. */
import { type Static, Type } from '@sinclair/typebox';
import { Nullable, Timestamp } from './resources.ts';

const SPACE_STATES = ['building', 'active', 'standby', 'read_only', 'retired'] as const;

export const SpaceResource = Type.Object({
  id: Type.Integer(),
  provider: Type.String(),
  model: Type.String(),
  dimensions: Type.Integer(),
  pipeline: Type.String({ description: 'What reads and cuts documents for it: versions of extractors and chunker' }),
  cut: Type.Integer({
    description: 'Spaces of one cut show the same chunks; another number: its pipeline cut documents anew',
  }),
  state: Type.Unsafe<(typeof SPACE_STATES)[number]>({
    type: 'string',
    enum: [...SPACE_STATES],
    description:
      'building: written beside the active one; active: what searches ask; standby: was active and is still written, so a rollback loses nothing; read_only: not written any more; retired: its rows are removed',
  }),
  created_at: Timestamp,
  activated_at: Nullable(Timestamp),
  previous_id: Nullable(Type.Integer({ description: 'The space that it took over from' })),
  shadow_share: Type.Number({ description: 'Share of live questions that are also asked here' }),
  observe_hours: Type.Number({ description: 'How long it is kept up to date after it stopped being active' }),
  documents: Type.Object({
    built: Type.Integer({ description: 'Published documents that are whole in the space' }),
    total: Type.Integer(),
    failed: Type.Integer({
      description: 'Could not be cut anew: they keep their chunks (GET /admin/spaces/{id}/failures)',
    }),
  }),
  chunks: Type.Integer(),
  shadow: Type.Object(
    {
      compared: Type.Integer({ description: 'Questions that both spaces were asked' }),
      failed: Type.Integer(),
      overlap: Nullable(Type.Number({ description: 'Share of the first ten that both found, 0…1' })),
      agreement: Nullable(Type.Number({ description: 'How much their order agrees, rank-biased overlap, 0…1' })),
    },
    { description: 'What shadow reads saw' },
  ),
});
export type SpaceResource = Static<typeof SpaceResource>;

export const SpaceFailure = Type.Object({
  tenant_id: Type.String(),
  document_id: Type.String(),
  code: Type.String({ description: 'As of a task’s error' }),
  message: Type.String(),
  attempts: Type.Integer(),
  given_up: Type.Boolean({ description: 'It keeps its chunks in the space and is not tried again' }),
  failed_at: Timestamp,
});
export type SpaceFailure = Static<typeof SpaceFailure>;

/** What is absent of the model is the active space's. */
export interface SpaceRequest {
  provider?: string;
  model?: string;
  dimensions?: number;
  /** `current`: cut anew by this release's extractors and chunker; `active` (the default): the chunks that there are. */
  pipeline?: 'active' | 'current';
  shadow_share?: number;
  observe_hours?: number;
}
