/**
 * `/v1/files`: documents, as files. Uploading the same bytes again answers with the file that there is, as everywhere; what
 * is found inside a file (archives, mail) is a document of its own and so a file of its own.
 */
import { type Static, Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { DocumentResource, Principal } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { queryInteger } from '../models/common.ts';
import { oneOf } from '../models/one-of.ts';
import { authenticated } from '../plugins/auth.ts';
import type { DocumentsPort, UploadsPort } from '../ports.ts';
import { attachment } from '../responses.ts';
import { bodyOf } from '../small-body.ts';
import { describeOpenAi } from './documentation.ts';
import { FileId, params, rowOf, toFileId } from './ids.ts';
import { seconds, toList } from './lists.ts';

const PURPOSES = ['assistants', 'user_data'] as const;
const DEFAULT_PURPOSE = 'user_data';
/** What is read at once of a list of which a part is looked for. */
const PAGE = 200;
const MOST_LISTED = 10_000;

/** The purpose is kept among the document's metadata. */
function uploadFields(given: Record<string, string>): Record<string, string> {
  const { purpose = '', metadata, ...rest } = given;
  if (!PURPOSES.some((known) => known === purpose)) {
    throw new AppError('invalid_request', 'The file cannot be used for this.', {
      errors: [{ path: 'purpose', message: `Expected one of: ${PURPOSES.join(', ')}` }],
    });
  }
  const expiry = Object.keys(rest).find((name) => name.startsWith('expires_after'));
  if (expiry !== undefined) {
    throw new AppError('invalid_request', 'Files do not expire here.', {
      errors: [{ path: 'expires_after', message: 'Not supported' }],
    });
  }
  return { ...rest, metadata: withPurpose(metadata, purpose) };
}

function withPurpose(metadata: string | undefined, purpose: string): string {
  if (metadata === undefined || metadata.trim() === '') return JSON.stringify({ purpose });
  try {
    const value: unknown = JSON.parse(metadata);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return JSON.stringify({ ...value, purpose });
  } catch {
    // Whoever reads the fields says so.
  }
  return metadata;
}

const STATES = {
  queued: 'uploaded',
  processing: 'uploaded',
  ready: 'processed',
  quarantined: 'error',
  failed: 'error',
};

function toFile({ id, size, filename, metadata, status, error, created_at: at }: DocumentResource) {
  const { purpose } = metadata;
  return {
    id: toFileId(id),
    object: 'file',
    bytes: size,
    created_at: seconds(at),
    expires_at: null,
    filename,
    purpose: typeof purpose === 'string' ? purpose : DEFAULT_PURPOSE,
    status: STATES[status],
    status_details: error?.message ?? null,
  };
}

const FileParams = params({ id: FileId });
const FilesQuery = Type.Object({
  limit: queryInteger('limit', { minimum: 1, maximum: MOST_LISTED, default: MOST_LISTED }),
  order: oneOf(['desc'], { default: 'desc', description: 'Newest first' }),
  after: Type.Optional(FileId),
  purpose: Type.Optional(Type.String({ maxLength: 50 })),
});

const example = {
  id: 'file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001',
  object: 'file',
  bytes: 48_213,
  created_at: 1_795_305_600,
  expires_at: null,
  filename: 'handbook.pdf',
  purpose: 'assistants',
  status: 'processed',
  status_details: null,
};

export function createOpenAiFiles({ uploads, documents }: { uploads: UploadsPort; documents: DocumentsPort }) {
  /** Of others' private documents administrators see names in their own lists; here they are not there. */
  async function get(id: string, by: Principal): Promise<DocumentResource> {
    const document = await documents.get(rowOf(id), by);
    if (document.sha256 === null) throw new AppError('not_found', 'There is no such file.');
    return document;
  }

  async function list({ limit, after, purpose }: Static<typeof FilesQuery>, by: Principal) {
    const found: ReturnType<typeof toFile>[] = [];
    let cursor = after === undefined ? undefined : rowOf(after);
    do {
      const page = await documents.list({ limit: PAGE, ...(cursor !== undefined && { cursor }) }, by);
      const files = page.items.filter(({ sha256 }) => sha256 !== null).map(toFile);
      found.push(...files.filter((file) => purpose === undefined || file.purpose === purpose));
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined && found.length <= limit);
    return toList(found, limit);
  }

  return new Elysia({ name: 'openai.files' })
    .use(authenticated)
    .post(
      '/files',
      async ({ request, principal }) => {
        const contentType = request.headers.get('content-type') ?? '';
        const { signal } = request;
        const { receipt } = await uploads.accept({
          body: await bodyOf(request),
          contentType,
          signal,
          adapt: uploadFields,
        });
        return toFile(await documents.get(receipt.document_id, principal));
      },
      {
        parse: 'none',
        detail: describeOpenAi({
          summary: 'Upload a file',
          description:
            'A document, for the purposes `assistants` and `user_data`. Beside OpenAI’s fields the form may have those of `POST /api/v1/upload`, `visibility` among them. `status` is `processed` once it is searchable. The same bytes again answer with the file that is there.',
          example,
          requestBody: {
            required: true,
            content: {
              'multipart/form-data': {
                schema: {
                  type: 'object',
                  required: ['file', 'purpose'],
                  properties: {
                    purpose: { type: 'string', enum: [...PURPOSES] },
                    visibility: { type: 'string', enum: ['tenant', 'private'], default: 'tenant' },
                    file: { type: 'string', format: 'binary' },
                  },
                },
              },
            },
          },
        }),
      },
    )
    .get('/files', ({ query, principal }) => list(query, principal), {
      query: FilesQuery,
      detail: describeOpenAi({
        summary: 'The files',
        example: { object: 'list', data: [example], first_id: example.id, last_id: example.id, has_more: false },
      }),
    })
    .get('/files/:id', async ({ params: { id }, principal }) => toFile(await get(id, principal)), {
      params: FileParams,
      detail: describeOpenAi({ summary: 'One file', example }),
    })
    .get(
      '/files/:id/content',
      async ({ params: { id }, principal }) => {
        await get(id, principal);
        return attachment(await documents.content(rowOf(id)));
      },
      {
        params: FileParams,
        detail: describeOpenAi({
          summary: 'The original bytes',
          example: 'The bytes',
          contentType: 'application/octet-stream',
        }),
      },
    )
    .delete(
      '/files/:id',
      async ({ params: { id }, principal }) => {
        await get(id, principal);
        await documents.remove(rowOf(id), principal);
        return { id: toFileId(rowOf(id)), object: 'file', deleted: true };
      },
      {
        params: FileParams,
        detail: describeOpenAi({
          summary: 'Delete a file',
          description: 'The document, in whichever vector stores it is; nothing of it is found from that moment.',
          example: { id: example.id, object: 'file', deleted: true },
        }),
      },
    );
}
