/** Accepting a document. A large body is left to the service as the stream it is: whoever parses it here holds it whole. */
import { Elysia } from 'elysia';
import { CHUNK_TOKENS, CHUNKING_STRATEGIES, UploadReceipt } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { receipt } from '../examples.ts';
import { authenticated } from '../plugins/auth.ts';
import type { UploadsPort } from '../ports.ts';
import { bodyOf } from '../small-body.ts';

const MULTIPART = {
  required: true,
  content: {
    'multipart/form-data': {
      schema: {
        type: 'object' as const,
        required: ['file'],
        properties: {
          title: { type: 'string' as const, description: "Default: the document's own title, else its filename" },
          source_type: { type: 'string' as const, description: 'Default: upload' },
          visibility: { type: 'string' as const, enum: ['tenant', 'private'], default: 'tenant' },
          metadata: {
            type: 'string' as const,
            description: 'A JSON object; searches can filter by it',
            example: '{"department":"people"}',
          },
          source_item: {
            type: 'string' as const,
            description:
              'Your own name for the file (also `external_id`): with the same one and other bytes, this is the next version of the same document. Searches see the old version until the new one is ready, and go on seeing it where that fails',
            example: 'wiki/page/42',
          },
          priority: { type: 'integer' as const, minimum: 0, maximum: 9, default: 5, description: '9 is most urgent' },
          chunking: {
            type: 'string' as const,
            enum: [...CHUNKING_STRATEGIES],
            default: 'structural',
            description: 'How the text is cut; `POST /chunking/preview` shows it',
          },
          chunk_tokens: {
            type: 'integer' as const,
            ...CHUNK_TOKENS,
            default: 400,
            description: 'The most tokens of a chunk, as the embedding model counts them',
          },
          chunk_overlap: {
            type: 'integer' as const,
            minimum: 0,
            description:
              'The most tokens repeated from the chunk before; at most half of `chunk_tokens`, default a ninth',
          },
          file: { type: 'string' as const, format: 'binary', description: 'Send it last, after the fields' },
        },
      },
    },
  },
};

export function createUploadRoutes({ uploads }: { uploads: UploadsPort }) {
  return new Elysia({ name: 'routes.upload' }).use(authenticated).post(
    '/upload',
    async ({ request, status }) => {
      const contentType = request.headers.get('content-type') ?? '';
      const { signal } = request;
      const { receipt, created } = await uploads.accept({ body: await bodyOf(request), contentType, signal });
      return created ? status(202, receipt) : status(200, receipt);
    },
    {
      parse: 'none',
      response: { 200: UploadReceipt, 202: UploadReceipt },
      detail: describe({
        tag: 'documents',
        summary: 'Upload a document',
        description:
          'Text, Markdown, HTML, PDF, office documents of today and before 2007, e-books, mails, tables, scans (TIFF, PNG, JPEG …) and more; the type is decided by the bytes. It is accepted at once and made searchable in the background: follow `task:{task_id}` over the WebSocket, or ask for the task.',
        requestBody: MULTIPART,
        answers: {
          202: { description: 'Accepted', schema: UploadReceipt, example: receipt },
          200: {
            description: 'The same bytes were there already',
            schema: UploadReceipt,
            example: { ...receipt, status: 'succeeded', duplicate: true },
          },
        },
        errors: [
          'malformed',
          'forbidden',
          'payload_too_large',
          'unsupported_media_type',
          'invalid_request',
          'malware_detected',
          'queue_full',
          'unavailable',
        ],
      }),
    },
  );
}
