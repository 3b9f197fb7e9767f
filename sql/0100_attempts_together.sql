-- Attempts that begin or end at about the same time do so by one statement, whatever tenants they are of
-- (`db/group-commit.ts`): a transaction for each was most of what a job cost. Like handing out, that is the queue's own book
-- of its tasks, so `dreamhub_system` keeps it: who works on what, since when and until when, and that it ended well. What the
-- work is and what came of it only the tenant's scope sees, in which the rest of the same transaction runs. The policies are
-- those of the feeder and of the limits (0002, 0020).
grant select (document_version, cancel_requested, chunking) on tasks to dreamhub_system;
grant update (status, attempt, started_at, finished_at, leased_until, stage, progress, chunks_done, chunks_total, error_code,
  error_message) on tasks to dreamhub_system;

-- The key finds a tenant's tasks from the newest as well: one index less for each of a task's states to be entered into.
drop index tasks_list;
