-- Why an answer was good or bad, in the words of whom it was given to; the rating itself stands beside it since 0004.
alter table messages
  add column feedback_comment text check (length(feedback_comment) between 1 and 2000),
  add column rated_at timestamptz,
  add check (rating is null or role = 'assistant'),
  add check (feedback_comment is null or rating is not null);
