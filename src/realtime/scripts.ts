/**
 * The Lua of a topic's log. A log is two keys: a stream whose entry ids are `<seq>-0`, with one field, `e`: an entry
 * `<type> <ts> <data>`; and a hash, its metadata:
 *
 *     state      where the log is (`log-position.ts`): `<epoch> <seq> <attempt> <final> <writer> <number> <appended>`, the
 *                last three of whoever appended last: Redis clients send a command again when its reply was lost, and
 *                the second time must append nothing
 *     w:<writer> number and outcome of a writer's last group, once another writer has come
 *     user, audience ('user' or 'tenant')
 *     base_seq, base_text, base_sources   what was trimmed, folded: the text of the attempt up to base_seq as the inside
 *                of a JSON string, and its sources as JSON
 *
 * Its last writer knows all of that by heart, so most groups are a comparison and two writes: a call from Lua costs about
 * as much as what it calls, and an argument a tenth.
 */
import { createScript } from './script.ts';

/**
 * Appends groups of events (each of one topic and attempt), all or nothing per run, and publishes them in one message.
 *
 * KEYS  per group: metadata, stream
 * ARGV  channel, writer, seconds to live, seconds to live after a final event, kept events, then per group either
 *       `f` (goes on where its writer left off), count, state before, state after, per event: entry id, entry
 *       or `s`, attempt, user, audience, number, mode (`plain`, `restorable`, `rebuild`), epoch if it begins a log, count,
 *       then epoch, seq, attempt and number that the writer last knew ('', 0, 0, 0: nothing), then per event: class
 *       (`final`, `queued`, `-`), entry
 * Returns per group: for `f` how many events were appended, or -2 where the log was not in the state before, and nothing
 * was done; for `s` {appended, state, base_seq, audience}, where fewer were appended than given if a newer attempt owns the
 * log or the attempt has ended; {-1} where a `restorable` group found no log; {-3} where it found one that has lost what
 * its writer had appended (Redis was rolled back).
 */
export const appendScript = createScript(`
local call = redis.call
local channel, writer = ARGV[1], ARGV[2]
local ttl, finalTtl, kept = ARGV[3], ARGV[4], tonumber(ARGV[5])
local at, lines, replies = 6, {}, {}

local function fold(meta, log, excess)
  local cut = call('XRANGE', log, '-', '+', 'COUNT', excess)
  local text = call('HGET', meta, 'base_text') or ''
  local sources = call('HGET', meta, 'base_sources') or '[]'
  local parts = { text }
  for _, entry in ipairs(cut) do
    local type, data = string.match(entry[2][2], '^(%S+) %S+ (.*)$')
    if type == 'turn.delta' then
      parts[#parts + 1] = string.sub(data, 10, -3)
    elseif type == 'turn.sources' then
      sources = string.sub(data, 12, -2)
    elseif type == 'turn.started' or type == 'turn.queued' then
      parts, sources = {}, '[]'
    end
  end
  local last = tonumber(string.match(cut[#cut][1], '^%d+'))
  call('HSET', meta, 'base_seq', last, 'base_text', table.concat(parts), 'base_sources', sources)
  call('XTRIM', log, 'MINID', (last + 1) .. '-0')
  return last
end

local function continue(meta, log)
  local count, before, after = tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  local first = at + 4
  at = first + 2 * count
  local state = call('HGET', meta, 'state')
  if state == after then return count end
  if state ~= before then return -2 end
  local line = #lines + 1
  lines[line] = 'L ' .. meta .. ' ' .. after
  for i = first, at - 1, 2 do
    call('XADD', log, ARGV[i], 'e', ARGV[i + 1])
    line = line + 1
    lines[line] = ARGV[i + 1]
  end
  call('HSET', meta, 'state', after)
  return count
end

local function append(meta, log)
  local attempt, user, audience, number = tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local mode, fresh, count = ARGV[at + 5], ARGV[at + 6], tonumber(ARGV[at + 7])
  local wroteEpoch, wroteSeq = ARGV[at + 8], tonumber(ARGV[at + 9])
  local wroteAttempt, wroteNumber = tonumber(ARGV[at + 10]), tonumber(ARGV[at + 11])
  local first = at + 12
  at = first + 2 * count

  local had = call('HMGET', meta, 'state', 'audience', 'base_seq', 'w:' .. writer)
  local state, base = had[1] or '', tonumber(had[3] or 0)
  local epoch, seq, known, final, other, lastNumber, lastReply =
    string.match(state, '^(%S+) (%d+) (%d+) (%d) (%S+) (%d+) (%d+)$')
  seq, known, final = tonumber(seq or 0), tonumber(known or 0), final == '1'
  local otherReply = lastNumber and (lastNumber .. ' ' .. lastReply)
  if other ~= writer then lastNumber, lastReply = string.match(had[4] or '', '^(%d+) (%d+)$') end
  lastNumber = tonumber(lastNumber or 0)

  if attempt < known then return { 0 } end
  if lastNumber == number then return { tonumber(lastReply), state, base, had[2] } end
  if lastNumber > number then return { count, state, base, had[2] } end
  if attempt > known then final = false end
  if final and ARGV[first] ~= 'queued' then return { 0 } end
  if mode == 'restorable' and seq == 0 then return { -1 } end
  if mode ~= 'rebuild' and seq > 0 and wroteEpoch ~= '' then
    local lost
    if other == writer then lost = lastNumber < wroteNumber
    elseif epoch == wroteEpoch then lost = seq < wroteSeq
    else lost = known <= wroteAttempt end
    if lost and mode == 'restorable' then return { -3 } end
    if lost then mode = 'rebuild' end
  end
  if mode == 'rebuild' or not epoch then
    call('DEL', meta, log)
    epoch, seq, base, other = fresh, 0, 0, nil
  end

  local header, appended = #lines + 1, 0
  lines[header] = ''
  for i = first, at - 1, 2 do
    if final and ARGV[i] ~= 'queued' then break end
    seq, appended, final = seq + 1, appended + 1, ARGV[i] == 'final'
    call('XADD', log, seq .. '-0', 'e', ARGV[i + 1])
    lines[header + appended] = ARGV[i + 1]
  end
  state = table.concat({ epoch, seq, attempt, final and '1' or '0', writer, number, appended }, ' ')
  lines[header] = 'L ' .. meta .. ' ' .. state
  if had[2] == 'user' then audience = 'user' end
  if other and other ~= writer then call('HSET', meta, 'w:' .. other, otherReply) end
  call('HSETNX', meta, 'user', user)
  call('HSET', meta, 'state', state, 'audience', audience)
  local life = final and finalTtl or ttl
  call('EXPIRE', meta, life)
  call('EXPIRE', log, life)
  local excess = seq - base - kept
  if excess > 0 then base = fold(meta, log, excess + math.floor(kept / 4)) end
  return { appended, state, base, audience }
end

for k = 1, #KEYS, 2 do
  local group = ARGV[at] == 'f' and continue or append
  replies[#replies + 1] = group(KEYS[k], KEYS[k + 1])
end
if #lines > 0 then call('SPUBLISH', channel, table.concat(lines, '\\n')) end
return replies
`);

/**
 * Reads a part of a log together with its metadata, as of one moment.
 *
 * KEYS  metadata, stream
 * ARGV  the last seq that the reader has, at most so many events
 * Returns nil where there is no log; else {state, user, audience, first kept seq ('' when nothing is kept), base_seq,
 * base_text, base_sources, {seq, entry, seq, entry, …}}; what is not set is ''.
 */
export const readScript = createScript(`
local had = redis.call('HMGET', KEYS[1], 'state', 'user', 'audience', 'base_seq', 'base_text', 'base_sources')
if not had[1] then return nil end
local function seqOf(entry) return string.match(entry[1], '^%d+') end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local events = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  events[#events + 1] = seqOf(entry)
  events[#events + 1] = entry[2][2]
end
return {had[1], had[2] or '', had[3] or '', oldest and seqOf(oldest) or '', had[4] or '', had[5] or '', had[6] or '', events}
`);

/**
 * Begins an empty log for a topic that has none, so that a reader who was told its state from the database and the writer
 * who comes later mean the same epoch. Names no user: until a writer does, every reader is checked against the database.
 *
 * KEYS  metadata
 * ARGV  state, seconds to live
 * Returns the state of the log that is there now.
 */
export const beginScript = createScript(`
if redis.call('HSETNX', KEYS[1], 'state', ARGV[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return redis.call('HGET', KEYS[1], 'state')
`);
