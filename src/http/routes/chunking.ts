import { Elysia } from 'elysia';
import { ChunkPreview, ChunkPreviewRequest } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { chunkPreview } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ChunkPreviewsPort } from '../ports.ts';

export function createChunkingRoutes({ chunkPreviews }: { chunkPreviews: ChunkPreviewsPort }) {
  return new Elysia({ name: 'routes.chunking' })
    .use(authenticated)
    .post('/chunking/preview', ({ body }) => chunkPreviews.preview(body), {
      parse: jsonBody,
      body: ChunkPreviewRequest,
      response: { 200: ChunkPreview },
      detail: describe({
        tag: 'documents',
        summary: 'See how a text would be cut',
        description:
          'Give `text`, or the `document_id` of a document that is ready. The choices are those of an upload (`chunking` there is `strategy` here); what is not given is as everybody’s. Nothing is stored. Of a document longer than 2,000,000 characters the beginning is cut.',
        answers: { 200: { description: 'The first chunks', schema: ChunkPreview, example: chunkPreview } },
        errors: [
          'malformed',
          'invalid_request',
          'not_found',
          'conflict',
          'payload_too_large',
          'unsupported_media_type',
        ],
      }),
    });
}
