/** The XML parts of an OpenDocument file, packed or flat, checked for what such documents may not have. */
import { ExtractError } from './extract-error.ts';
import { partsOfFlat } from './odf-flat.ts';
import { assertNoEntities } from './office-parts.ts';
import { unpackZip } from './zip-limits.ts';

/** Rejects with `corrupt`, `encrypted`, `limits_exceeded`, or `unsupported_media_type` for macros. */
export async function unpackOpenDocument(path: string): Promise<Map<string, Uint8Array>> {
  const parts = (await isZip(path)) ? await unpacked(path) : await takenApart(path);
  for (const bytes of parts.values()) assertNoEntities(bytes);
  return parts;
}

async function isZip(path: string): Promise<boolean> {
  return (await Bun.file(path).slice(0, 2).text()) === 'PK';
}

async function unpacked(path: string): Promise<Map<string, Uint8Array>> {
  const parts = await unpackZip(path, (name) =>
    /^(?:mimetype|(?:content|styles|meta)\.xml|META-INF\/manifest\.xml)$/.test(name),
  );
  const manifest = Buffer.from(parts.get('META-INF/manifest.xml') ?? []).toString('utf8');
  if (/encryption-data/.test(manifest))
    throw new ExtractError('encrypted', 'The document is protected with a password.');
  return parts;
}

async function takenApart(path: string): Promise<Map<string, Uint8Array>> {
  const file = await Bun.file(path).bytes();
  assertNoEntities(file);
  const parts = partsOfFlat(file);
  if (!parts) throw new ExtractError('corrupt', 'The OpenDocument file is damaged and cannot be read.');
  const macros = Buffer.from(parts.get('content.xml') ?? []).includes(':source-code');
  if (macros) {
    throw new ExtractError(
      'unsupported_media_type',
      'The document has macros in it, and is not taken for that reason.',
    );
  }
  return parts;
}
