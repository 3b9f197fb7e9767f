/** Settings of a source: checked by its kind's schema, and parted from its credentials, which are sealed. */
import { Value } from '@sinclair/typebox/value';
import type { NewSource, SourceProvider } from '../contracts/index.ts';
import { SourceUnavailable } from '../ingest/sources/source-error.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import type { Sealer } from '../kernel/sealing.ts';

const COMMON = new Set(['kind', 'name', 'visibility', 'interval_minutes']);

/** Throws `invalid_request` naming each setting that does not fit; a setting that is not known is an error, too. */
export function parseSettings(provider: SourceProvider, request: NewSource): Record<string, unknown> {
  const settings = Object.fromEntries(Object.entries(request).filter(([name]) => !COMMON.has(name)));
  const schema = { ...provider.settings, additionalProperties: false };
  const errors = [...Value.Errors(schema, settings)].slice(0, 20).map(({ path, message }) => ({ path, message }));
  if (errors.length === 0) errors.push(...badAddresses(provider, settings));
  if (errors.length > 0) {
    throw new AppError('invalid_request', `These are no settings of a source of the kind ${provider.kind}.`, {
      errors,
    });
  }
  return settings;
}

/** Addresses are shown to whoever sees the source, so none may hold a password; one that is none could never be synced. */
function badAddresses(provider: SourceProvider, settings: Record<string, unknown>): FieldError[] {
  return Object.entries(provider.settings.properties).flatMap(([name, { pattern }]): FieldError[] => {
    const value = settings[name];
    if (typeof value !== 'string' || typeof pattern !== 'string' || !pattern.includes('://')) return [];
    const path = `/${name}`;
    // Only these have a host: with another scheme nothing of it would be looked at.
    const address = value.replace(/^webcal:/i, 'https:');
    if (!URL.canParse(address)) return [{ path, message: 'an address that can be called is needed' }];
    const { username, password } = new URL(address);
    return username === '' && password === '' ? [] : [{ path, message: 'an address must not hold credentials' }];
  });
}

/** What a sealed text belongs to: in no other row can it be opened. */
const placeOf = (sourceId: string): string => `source ${currentScope().tenantId} ${sourceId}`;

/**
 * Settings apart from the provider's secrets, which are sealed for this source alone; null where it has none. Throws
 * `conflict` where there are some and no key to seal them with.
 */
export function sealSecrets(
  sealer: Sealer | undefined,
  provider: SourceProvider,
  { id, settings }: { id: string; settings: Record<string, unknown> },
): { settings: Record<string, unknown>; secret: Uint8Array | null } {
  const entries = Object.entries(settings);
  const secrets = entries.filter(([name]) => provider.secrets.includes(name));
  if (secrets.length === 0) return { settings, secret: null };
  if (!sealer) {
    throw new AppError(
      'conflict',
      'This installation cannot keep credentials: its operator has set no ENCRYPTION_KEY and no JWT_SECRET.',
    );
  }
  return {
    settings: Object.fromEntries(entries.filter(([name]) => !provider.secrets.includes(name))),
    secret: sealer.seal(Buffer.from(JSON.stringify(Object.fromEntries(secrets))), placeOf(id)),
  };
}

/** Settings with their credentials. */
export function openSecrets(
  sealer: Sealer | undefined,
  { id, settings, secret }: { id: string; settings: Record<string, unknown>; secret: Uint8Array | null },
): Record<string, unknown> {
  if (secret === null) return settings;
  if (!sealer)
    throw new SourceUnavailable('This worker has no ENCRYPTION_KEY or JWT_SECRET to open the credentials with.');
  const text = Buffer.from(sealer.open(secret, placeOf(id))).toString('utf8');
  return { ...settings, ...(JSON.parse(text) as Record<string, unknown>) };
}
