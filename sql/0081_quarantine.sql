-- A quarantined document is a notice of what was refused and has no bytes. It must not stand in the way of the same bytes
-- should the scanner call them clean one day, so it has an identity of its own.
drop index documents_identity;
create unique index documents_identity on documents
  (tenant_id, sha256, source_type, coalesce(private_to, '00000000-0000-0000-0000-000000000000'::uuid))
  where source_item is null and status <> 'quarantined';
create unique index documents_quarantined on documents
  (tenant_id, sha256, source_type, coalesce(private_to, '00000000-0000-0000-0000-000000000000'::uuid))
  where status = 'quarantined';
