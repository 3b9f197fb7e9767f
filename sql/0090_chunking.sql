-- How a person wants a document to be cut: {strategy, chunk_tokens, chunk_overlap}, null for the installation's own way. A
-- task builds one version, so the wish is the task's, and a retry of it keeps to it; the document says how the version was
-- cut that searches see.
alter table tasks add column chunking jsonb check (chunking ?& array['strategy', 'chunk_tokens', 'chunk_overlap']);
alter table documents add column chunking jsonb check (chunking ?& array['strategy', 'chunk_tokens', 'chunk_overlap']);
