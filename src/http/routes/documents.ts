import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { ChunkResource, DocumentResource, PageOf } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { chunk, document } from '../examples.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { DocumentListQuery, DocumentTextQuery } from '../models/documents.ts';
import { authenticated } from '../plugins/auth.ts';
import type { DocumentsPort } from '../ports.ts';
import { attachment, noContent, plainText } from '../responses.ts';

const tag = 'documents';
const Documents = PageOf(DocumentResource);
const Chunks = PageOf(ChunkResource);

export function createDocumentRoutes({ documents }: { documents: DocumentsPort }) {
  return new Elysia({ name: 'routes.documents' })
    .use(authenticated)
    .get('/documents', ({ query, principal }) => documents.list(query, principal), {
      query: DocumentListQuery,
      response: { 200: Documents },
      detail: describe({
        tag,
        summary: 'List documents, newest first',
        description:
          'Owners and admins also see that private documents of others are there: name, type, size and whose, and nothing of what is inside.',
        answers: {
          200: { description: 'One page', schema: Documents, example: { items: [document], next_cursor: null } },
        },
        errors: ['invalid_request'],
      }),
    })
    .get('/documents/:id', ({ params, principal }) => documents.get(params.id, principal), {
      params: IdParams,
      response: { 200: DocumentResource },
      detail: describe({
        tag,
        summary: 'One document',
        answers: { 200: { description: 'The document', schema: DocumentResource, example: document } },
        errors: ['not_found'],
      }),
    })
    .get('/documents/:id/content', async ({ params }) => attachment(await documents.content(params.id)), {
      params: IdParams,
      detail: describe({
        tag,
        summary: 'The original file',
        answers: {
          200: {
            description: 'The bytes as they were uploaded, as an attachment',
            contentType: 'application/octet-stream',
            schema: Type.String({ format: 'binary' }),
          },
        },
        errors: ['not_found'],
      }),
    })
    .get(
      '/documents/:id/text',
      async ({ params, query }) => plainText(await documents.text(params.id, query.version)),
      {
        params: IdParams,
        query: DocumentTextQuery,
        detail: describe({
          tag,
          summary: 'The extracted text',
          description:
            'What the offsets of chunks and sources count in, by UTF-16 code units. A source of an answer names the `version` that it counts in; the text of one that searches no longer see is kept while an answer cites it, and goes with its document.',
          answers: {
            200: { description: 'The text', contentType: 'text/plain', schema: Type.String(), example: chunk.text },
          },
          errors: ['not_found', 'conflict', 'invalid_request'],
        }),
      },
    )
    .get('/documents/:id/chunks', ({ params, query }) => documents.chunks(params.id, query), {
      params: IdParams,
      query: PageQuery,
      response: { 200: Chunks },
      detail: describe({
        tag,
        summary: 'The passages that search finds, in reading order',
        answers: { 200: { description: 'One page', schema: Chunks, example: { items: [chunk], next_cursor: null } } },
        errors: ['not_found', 'invalid_request'],
      }),
    })
    .delete('/documents/:id', ({ params, principal }) => noContent(documents.remove(params.id, principal)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'Delete a document',
        description:
          'Nothing of it is found from that moment on, and a task that is still at it ends. For who uploaded it, and for admins and owners, who delete private documents of others unread.',
        answers: { 204: { description: 'Deleted' } },
        errors: ['not_found', 'forbidden'],
      }),
    });
}
