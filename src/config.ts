/** Environment → one frozen object. Every problem is told at once; secrets come from NAME or from the file NAME_FILE. */
import { readFileSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { messageOf } from './kernel/errors.ts';
import { type ModelPrices, parsePrices } from './llm/prices.ts';
import { isClusterUrl, parseRedisUrl, REDIS_PROTOCOLS } from './redis/address.ts';
import { type ClamdAddress, parseClamdUrl } from './storage/clamd.ts';

export interface Config {
  port: number;
  host: string;
  role: 'all' | 'server' | 'worker';
  production: boolean;
  dataDir: string;
  /** Undefined: the embedded database. */
  databaseUrl: string | undefined;
  databaseOwnerUrl: string | undefined;
  /** Undefined: the embedded Redis. */
  redisUrl: string | undefined;
  /** `file:///path` or `s3://bucket?endpoint=…`. */
  blobUrl: string;
  /** For S3; undefined with files. */
  s3: { accessKeyId: string; secretAccessKey: string; sessionToken: string | undefined } | undefined;
  /** Where clamd listens; undefined: nothing is scanned. */
  clamav: ClamdAddress | undefined;
  openaiBaseUrl: string | undefined;
  openaiApiKeys: string[];
  embeddingBaseUrl: string | undefined;
  embeddingApiKeys: string[];
  /** A `/rerank` server; undefined: the built-in one, where a request asks for it. */
  rerankUrl: string | undefined;
  rerankApiKeys: string[];
  rerankModel: string | undefined;
  chatModel: string | undefined;
  embeddingModel: string | undefined;
  embeddingDimensions: number | undefined;
  /** US dollars for a million tokens, of models that are not known or cost something else here. */
  modelPrices: ModelPrices;
  /** What stands before a question and before a passage; undefined: what the model's name is known to want. */
  embeddingPrefixes: { query: string | undefined; document: string | undefined };
  /** First signs, all verify. Empty: generated into DATA_DIR when embedded. */
  jwtSecrets: string[];
  operatorToken: string | undefined;
  metricsToken: string | undefined;
  registration: 'open' | 'invite' | 'closed';
  queueMaxDepth: number;
  queueMaxBytes: number;
  workerConcurrency: number;
  tenantConcurrency: number;
  visibilityTimeoutMs: number;
  chatVisibilityTimeoutMs: number;
  maxAttempts: number;
  maxUploadBytes: number;
  allowedOrigins: string[];
  logLevel: string;
  /** Hash tags over which tenants are spread in Redis; of all processes the same. */
  partitions: number;
  /** Seal credentials that are kept; the first seals, all open. Empty: JWT_SECRET, or generated when embedded. */
  encryptionKeys: string[];
  /** Sources may be read at addresses of our own network. */
  allowPrivateSources: boolean;
  /** Folders on this server that may be sources, and the tenant whose administrators may read each; null: every tenant's. */
  sourceFolders: { path: string; tenantId: string | null }[];
  /** Webhooks may be sent to addresses of our own network. */
  allowPrivateWebhooks: boolean;
  /** Make a demo tenant with sample documents at the first start. */
  demo: boolean;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly string[]) {
    super(
      `The environment has ${problems.length === 1 ? 'a problem' : 'problems'}:\n${problems.map((p) => `  - ${p}`).join('\n')}`,
    );
  }
}

const MIN_SECRET_BYTES = 32;

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws `ConfigError` with every problem that the environment has. */
export function readConfig(env: Environment): Config {
  const problems: string[] = [];
  const production = env['NODE_ENV'] === 'production';

  const text = (name: string) => {
    const value = env[name]?.trim();
    return value === undefined || value === '' ? undefined : value;
  };
  /** `none` is an empty one, `\n` a new line. Files of variables lose blanks at the end, so a colon gets its own. */
  const prefix = (name: string): string | undefined => {
    const value = text(name);
    return value === undefined ? undefined : value === 'none' ? '' : value.replaceAll('\\n', '\n').replace(/:$/, ': ');
  };
  const integer = (name: string, fallback: number, min: number, max: number): number => {
    const value = text(name);
    if (value === undefined) return fallback;
    const number = Number(value);
    if (Number.isInteger(number) && number >= min && number <= max) return number;
    problems.push(`${name} is "${value}": a whole number from ${min} to ${max} is needed`);
    return fallback;
  };
  const choice = <const T extends string>(name: string, values: readonly T[], fallback: T): T => {
    const value = text(name);
    if (value === undefined) return fallback;
    const known = values.find((candidate) => candidate === value);
    if (known === undefined) problems.push(`${name} is "${value}": one of ${values.join(', ')} is needed`);
    return known ?? fallback;
  };
  const url = (name: string, value: string | undefined, protocols: readonly string[]): string | undefined => {
    if (value === undefined) return undefined;
    if (protocols.some((protocol) => value.startsWith(protocol))) return value;
    problems.push(`${name} must start with ${protocols.join(' or ')}`);
    return undefined;
  };
  const secret = (name: string): string | undefined => {
    const file = text(`${name}_FILE`);
    const value = text(name);
    if (file !== undefined && value !== undefined) problems.push(`${name} and ${name}_FILE are both set`);
    if (file !== undefined) {
      try {
        return readFileSync(file, 'utf8').trim() || undefined;
      } catch (error) {
        problems.push(`${name}_FILE cannot be read: ${error instanceof Error ? error.message : error}`);
        return undefined;
      }
    }
    if (value !== undefined && production) problems.push(`${name} must come as ${name}_FILE with NODE_ENV=production`);
    return value;
  };
  const list = (value: string | undefined) =>
    (value ?? '')
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');

  const role = choice('DREAMHUB_ROLE', ['all', 'server', 'worker'], 'all');
  const databaseUrl = url('DATABASE_URL', secret('DATABASE_URL'), ['postgres://', 'postgresql://']);
  const databaseOwnerUrl = url('DATABASE_OWNER_URL', secret('DATABASE_OWNER_URL'), ['postgres://', 'postgresql://']);
  const redisUrl = url('REDIS_URL', secret('REDIS_URL'), REDIS_PROTOCOLS);
  const isCluster = redisUrl !== undefined && isClusterUrl(redisUrl);
  try {
    if (redisUrl !== undefined) parseRedisUrl(redisUrl);
  } catch (error) {
    problems.push(`REDIS_URL cannot be read: ${messageOf(error)}`);
  }
  const dataDir = resolve(text('DATA_DIR') ?? '.dreamhub');
  const embedded = databaseUrl === undefined;

  if (role !== 'all') {
    if (databaseUrl === undefined)
      problems.push(`DATABASE_URL is needed with DREAMHUB_ROLE=${role}: the embedded database serves one process`);
    if (redisUrl === undefined)
      problems.push(`REDIS_URL is needed with DREAMHUB_ROLE=${role}: the embedded Redis serves one process`);
  }

  const jwtSecrets = list(secret('JWT_SECRET'));
  for (const value of jwtSecrets) {
    if (Buffer.byteLength(value) < MIN_SECRET_BYTES)
      problems.push(`JWT_SECRET: each secret needs at least ${MIN_SECRET_BYTES} bytes`);
  }
  if (jwtSecrets.length === 0 && !embedded && role !== 'worker') {
    problems.push('JWT_SECRET is needed (it is generated only with the embedded database)');
  }

  const encryptionKeys = list(secret('ENCRYPTION_KEY'));
  for (const value of encryptionKeys) {
    if (Buffer.byteLength(value) < MIN_SECRET_BYTES)
      problems.push(`ENCRYPTION_KEY: each key needs at least ${MIN_SECRET_BYTES} bytes`);
  }
  const sourceFolders = list(text('SOURCE_FOLDERS')).map((entry) => {
    const [, tenantId, path = entry] = /^([0-9a-f-]{36})=(.*)$/i.exec(entry) ?? [];
    if (!isAbsolute(path))
      problems.push(`SOURCE_FOLDERS: ${entry} is no absolute path, with or without "tenant id=" before it`);
    return { path, tenantId: tenantId?.toLowerCase() ?? null };
  });

  const blobUrl = text('BLOB_URL') ?? `file://${resolve(dataDir, 'blobs')}`;
  if (!/^(file:|s3:\/\/)/.test(blobUrl)) problems.push('BLOB_URL must start with file: or s3://');
  const s3 = blobUrl.startsWith('s3://')
    ? {
        accessKeyId: secret('AWS_ACCESS_KEY_ID') ?? '',
        secretAccessKey: secret('AWS_SECRET_ACCESS_KEY') ?? '',
        sessionToken: secret('AWS_SESSION_TOKEN'),
      }
    : undefined;
  if (s3 && (s3.accessKeyId === '' || s3.secretAccessKey === '')) {
    problems.push('BLOB_URL names S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed');
  }

  let modelPrices: ModelPrices = {};
  try {
    modelPrices = parsePrices(text('MODEL_PRICES') ?? '{}');
  } catch (error) {
    problems.push(`MODEL_PRICES cannot be read: ${messageOf(error)}`);
  }

  const clamavUrl = text('CLAMAV_URL');
  const clamav = clamavUrl === undefined ? undefined : parseClamdUrl(clamavUrl);
  if (clamavUrl !== undefined && !clamav) problems.push('CLAMAV_URL must be tcp://host:3310 or unix:/path');

  const openaiBaseUrl = url('OPENAI_BASE_URL', text('OPENAI_BASE_URL'), ['http://', 'https://']);
  const embeddingBaseUrl = url('EMBEDDING_BASE_URL', text('EMBEDDING_BASE_URL'), ['http://', 'https://']);
  const dimensions = integer('EMBEDDING_DIMENSIONS', 0, 1, 4_000);

  const config: Config = {
    port: integer('PORT', 8080, 0, 65_535),
    host: text('HOST') ?? '127.0.0.1',
    role,
    production,
    dataDir,
    databaseUrl,
    databaseOwnerUrl: databaseOwnerUrl ?? databaseUrl,
    redisUrl,
    blobUrl,
    s3,
    clamav,
    openaiBaseUrl,
    openaiApiKeys: list(secret('OPENAI_API_KEYS')),
    embeddingBaseUrl,
    embeddingApiKeys: list(secret('EMBEDDING_API_KEYS')),
    rerankUrl: url('RERANK_URL', text('RERANK_URL'), ['http://', 'https://']),
    rerankApiKeys: list(secret('RERANK_API_KEYS')),
    rerankModel: text('RERANK_MODEL'),
    chatModel: text('CHAT_MODEL'),
    embeddingModel: text('EMBEDDING_MODEL'),
    embeddingDimensions: dimensions === 0 ? undefined : dimensions,
    modelPrices,
    embeddingPrefixes: { query: prefix('EMBEDDING_QUERY_PREFIX'), document: prefix('EMBEDDING_DOCUMENT_PREFIX') },
    jwtSecrets,
    operatorToken: secret('OPERATOR_TOKEN'),
    metricsToken: secret('METRICS_TOKEN'),
    registration: choice('REGISTRATION', ['open', 'invite', 'closed'], embedded ? 'open' : 'invite'),
    queueMaxDepth: integer('QUEUE_MAX_DEPTH', 10_000, 1, 100_000_000),
    queueMaxBytes: integer('QUEUE_MAX_BYTES', 53_687_091_200, 1, 1_125_899_906_842_624),
    workerConcurrency: integer('WORKER_CONCURRENCY', 16, 1, 10_000),
    tenantConcurrency: integer('TENANT_CONCURRENCY', 4, 1, 10_000),
    visibilityTimeoutMs: integer('VISIBILITY_TIMEOUT_MS', 30_000, 100, 86_400_000),
    chatVisibilityTimeoutMs: integer('CHAT_VISIBILITY_TIMEOUT_MS', 5_000, 100, 86_400_000),
    maxAttempts: integer('MAX_ATTEMPTS', 5, 1, 1_000),
    maxUploadBytes: integer('MAX_UPLOAD_BYTES', 209_715_200, 1, 1_099_511_627_776),
    allowedOrigins: list(text('ALLOWED_ORIGINS')),
    logLevel: choice('LOG_LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info'),
    partitions: integer('PARTITIONS', isCluster ? 16 : 4, 1, 1_024),
    encryptionKeys,
    allowPrivateSources: choice('ALLOW_PRIVATE_SOURCES', ['true', 'false'], 'false') === 'true',
    sourceFolders,
    allowPrivateWebhooks: choice('ALLOW_PRIVATE_WEBHOOKS', ['true', 'false'], embedded ? 'true' : 'false') === 'true',
    demo: choice('DEMO', ['true', 'false'], 'false') === 'true',
  };
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}
