/**
 * How the routes below `/v1` describe themselves to Swagger. What their fields mean is OpenAI's to say, in its own
 * documentation; here stand what is asked, an example of each answer, and where DreamHub differs.
 */
import type { DocumentDecoration } from 'elysia';

export interface OpenAiDescription {
  summary: string;
  /** Where it differs from OpenAI's, if it does. */
  description?: string;
  /** Of the answer with status 200. */
  example: unknown;
  /** `application/json` unless given. */
  contentType?: string;
  /** For a body that no schema checks. */
  requestBody?: DocumentDecoration['requestBody'];
}

const ERRORS = [400, 401, 403, 404, 409, 413, 429, 500, 503] as const;

export function describeOpenAi({
  summary,
  description,
  example,
  contentType = 'application/json',
  requestBody,
}: OpenAiDescription): DocumentDecoration {
  const type = contentType === 'application/json' ? 'object' : 'string';
  return {
    tags: ['openai'],
    summary,
    ...(description !== undefined && { description }),
    ...(requestBody && { requestBody }),
    responses: {
      200: { description: "As OpenAI's API answers", content: { [contentType]: { schema: { type }, example } } },
      // The description is for whoever reads the route itself; beside a reference OpenAPI ignores it.
      ...Object.fromEntries(
        ERRORS.map((status) => [status, { $ref: '#/components/responses/OpenAiError', description: 'An error' }]),
      ),
    },
  };
}
