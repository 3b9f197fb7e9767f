/** What a document or a text would be cut into: asked for and answered, never kept. */
import { type Static, Type } from '@sinclair/typebox';
import { Chunking } from './chunking.ts';
import { Id, Nullable } from './resources.ts';

const ChunkPreviewItem = Type.Object({
  ordinal: Type.Integer(),
  page: Nullable(Type.Integer()),
  start: Type.Integer({ description: 'UTF-16 offset into the text' }),
  end: Type.Integer({ description: 'Exclusive' }),
  headings: Type.Array(Type.String()),
  tokens: Type.Integer(),
  text: Type.String(),
});

export const ChunkPreview = Type.Object({
  chunking: Chunking,
  total: Type.Integer({ description: 'Chunks of the whole text; `chunks` holds the first ones' }),
  tokens: Type.Integer({ description: 'Of all chunks, overlaps counted again' }),
  complete: Type.Boolean({ description: 'False: of a long document the beginning was cut' }),
  chunks: Type.Array(ChunkPreviewItem),
});
export type ChunkPreview = Static<typeof ChunkPreview>;

export const ChunkPreviewRequest = Type.Object(
  {
    text: Type.Optional(Type.String({ minLength: 1, description: 'Markdown headings are understood' })),
    document_id: Type.Optional(Id),
    strategy: Type.Optional(Chunking.properties.strategy),
    chunk_tokens: Type.Optional(Chunking.properties.chunk_tokens),
    chunk_overlap: Type.Optional(Chunking.properties.chunk_overlap),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'Chunks to show' })),
  },
  {
    example: {
      text: '# Leave\n\nEmployees are entitled to 25 days of paid leave a year.',
      strategy: 'sentence',
      chunk_tokens: 200,
    },
  },
);
export type ChunkPreviewRequest = Static<typeof ChunkPreviewRequest>;
