/** The one barrel: contracts are read by every layer and by the client, and hold no behaviour. */
export * from './administration.ts';
export * from './blobs.ts';
export * from './chunking.ts';
export * from './domain-events.ts';
export * from './events.ts';
export * from './ingest.ts';
export * from './jobs.ts';
export * from './principal.ts';
export * from './provider.ts';
export * from './realtime.ts';
export * from './resources.ts';
export * from './search.ts';
export * from './tokens.ts';
export * from './upload-sessions.ts';
export * from './webhooks.ts';
export * from './wire.ts';
