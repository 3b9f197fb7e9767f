-- Questions that come through OpenAI's API are turns like all others. A client of that API keeps the conversation itself and
-- sends all of it each time, so each of its questions begins a conversation of its own: those are of another kind, and stand
-- in nobody's list.
alter table conversations add column kind text not null default 'chat' check (kind in ('chat', 'completion', 'response'));
drop index conversations_list;
create index conversations_list on conversations (tenant_id, user_id, id desc) where kind = 'chat';
-- What the client's system messages ask for, for this turn alone.
alter table turns add column instructions text;
