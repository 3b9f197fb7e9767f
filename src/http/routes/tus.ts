/** Resumable uploads by tus 1.0.0. As with `POST /upload`, bodies are left to the service as the streams they are. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { ResumableUpload } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { describe } from '../documentation.ts';
import { resumableUpload } from '../examples.ts';
import { IdParams } from '../models/common.ts';
import { authenticated } from '../plugins/auth.ts';
import type { ResumableUploadsPort } from '../ports.ts';
import { noContent } from '../responses.ts';
import {
  assertVersion,
  bytesOf,
  capabilities,
  lengthOf,
  metadataOf,
  offsetOf,
  sendsBytes,
  stateResponse,
  TUS_PATH,
  uploadHeaders,
} from '../tus-protocol.ts';

const tag = 'documents';
const PATH = '/uploads/tus';

const header = (name: string, description: string, required = false) => ({
  name,
  in: 'header' as const,
  required,
  description,
  schema: { type: 'string' as const },
});
const VERSION = header('Tus-Resumable', '`1.0.0`');
const CHECKSUM = header('Upload-Checksum', '`sha1`, `sha256`, `sha512` or `md5`, and the Base64 digest of this body');
const BYTES = {
  content: { 'application/offset+octet-stream': { schema: { type: 'string' as const, format: 'binary' } } },
};
const appending = ['malformed', 'forbidden', 'not_found', 'conflict', 'payload_too_large'] as const;
const accepting = [
  ...appending,
  'unsupported_media_type',
  'invalid_request',
  'malware_detected',
  'queue_full',
  'unavailable',
] as const;

export function createTusRoutes({ resumable }: { resumable: ResumableUploadsPort }) {
  async function create(request: Request): Promise<Response> {
    assertVersion(request);
    const size = lengthOf(request);
    const { raw, values } = metadataOf(request);
    const { filename, name, ...fields } = values;
    let upload = await resumable.create({ size, filename: filename ?? name, fields, metadata: raw });
    if (sendsBytes(request)) upload = await resumable.append(upload.id, bytesOf(request, { offset: 0, size }));
    return new Response(null, {
      status: 201,
      headers: { ...uploadHeaders(upload), location: `${TUS_PATH}/${upload.id}` },
    });
  }

  async function append(id: string, request: Request): Promise<Response> {
    const { size } = await resumable.get(id);
    assertVersion(request);
    const upload = await resumable.append(id, bytesOf(request, { offset: offsetOf(request), size }));
    return new Response(null, { status: 204, headers: uploadHeaders(upload) });
  }

  return new Elysia({ name: 'routes.tus' })
    .use(authenticated)
    .options(PATH, () => capabilities(resumable.maxBytes), {
      detail: describe({
        tag,
        summary: 'What of tus is spoken here',
        answers: { 204: { description: 'In `Tus-…` headers' } },
      }),
    })
    .post(PATH, ({ request }) => create(request), {
      parse: 'none',
      detail: describe({
        tag,
        summary: 'Begin a resumable upload',
        description:
          'By [tus 1.0.0](https://tus.io/protocols/resumable-upload), for large files and bad lines: any tus client works. `Upload-Metadata` takes `filename` and the fields of `POST /upload`. With the last byte the file is checked and accepted as there; `DreamHub-Document-Id` and `DreamHub-Task-Id` tell what became of it. An upload is kept for a day after its last bytes. The body may be the first bytes already.',
        parameters: [
          VERSION,
          header('Upload-Length', 'Bytes of the whole file', true),
          header('Upload-Metadata', 'Keys and Base64 values: `filename aGFuZGJvb2sucGRm,priority OQ==`'),
          CHECKSUM,
        ],
        requestBody: BYTES,
        answers: { 201: { description: '`Location` is where its bytes are sent to' } },
        errors: accepting,
      }),
    })
    .head(
      `${PATH}/:id`,
      async ({ params, request }) => {
        const upload = await resumable.get(params.id);
        assertVersion(request);
        return stateResponse(upload);
      },
      {
        params: IdParams,
        detail: describe({
          tag,
          summary: 'Where to go on',
          answers: { 200: { description: 'In `Upload-Offset`' } },
          errors: ['malformed', 'not_found'],
        }),
      },
    )
    .get(
      `${PATH}/:id`,
      async ({ params }) => {
        const { metadata: _metadata, ...upload } = await resumable.get(params.id);
        return upload;
      },
      {
        params: IdParams,
        response: { 200: ResumableUpload },
        detail: describe({
          tag,
          summary: 'What became of a resumable upload',
          answers: { 200: { description: 'The upload', schema: ResumableUpload, example: resumableUpload } },
          errors: ['not_found'],
        }),
      },
    )
    .patch(`${PATH}/:id`, ({ params, request }) => append(params.id, request), {
      parse: 'none',
      params: IdParams,
      detail: describe({
        tag,
        summary: 'Send bytes',
        description:
          'What has arrived when the line breaks is kept. `conflict` where other bytes are expected: ask again. With a checksum that does not match (status 460), or a line that breaks under one, nothing is kept.',
        parameters: [VERSION, header('Upload-Offset', 'Where these bytes belong', true), CHECKSUM],
        requestBody: BYTES,
        answers: { 204: { description: 'Kept; `Upload-Offset` says how many are' } },
        errors: accepting,
      }),
    })
    .post(
      `${PATH}/:id`,
      ({ params, request }) => {
        // For whoever can send neither PATCH nor DELETE; the protocol asks for it.
        const method = request.headers.get('x-http-method-override')?.toUpperCase();
        if (method === 'PATCH') return append(params.id, request);
        if (method === 'DELETE') return noContent(resumable.remove(params.id));
        throw new AppError('not_found', 'There is no such resource.');
      },
      {
        parse: 'none',
        params: IdParams,
        detail: describe({
          tag,
          summary: 'PATCH or DELETE by another name',
          parameters: [header('X-HTTP-Method-Override', '`PATCH` or `DELETE`', true)],
          requestBody: BYTES,
          answers: { 204: { description: 'Done' } },
          errors: accepting,
        }),
      },
    )
    .delete(`${PATH}/:id`, ({ params }) => noContent(resumable.remove(params.id)), {
      params: IdParams,
      parse: 'none',
      response: { 204: Type.Void() },
      detail: describe({
        tag,
        summary: 'End a resumable upload',
        description: 'And forget its bytes. A document that was made of it stays.',
        answers: { 204: { description: 'Ended' } },
        errors: ['forbidden', 'not_found'],
      }),
    });
}
