/** The XML parts of an OpenDocument file, checked for what such documents may not have. */
import { ExtractError } from './extract-error.ts';
import { assertNoEntities } from './office-parts.ts';
import { unpackZip } from './zip-limits.ts';

/** Rejects with `corrupt`, `encrypted` or `limits_exceeded`. */
export async function unpackOpenDocument(path: string): Promise<Map<string, Uint8Array>> {
  const parts = await unpackZip(path, (name) =>
    /^(?:mimetype|(?:content|styles|meta)\.xml|META-INF\/manifest\.xml)$/.test(name),
  );
  const manifest = Buffer.from(parts.get('META-INF/manifest.xml') ?? []).toString('utf8');
  if (/encryption-data/.test(manifest))
    throw new ExtractError('encrypted', 'The document is protected with a password.');
  for (const bytes of parts.values()) assertNoEntities(bytes);
  return parts;
}
