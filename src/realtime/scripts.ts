/**
 * The Lua of a topic's log. A log is two keys: a stream whose entry ids are `<seq>-0`, with the fields `type`, `ts`,
 * `data`; and a hash, its metadata:
 *
 *     epoch, seq, attempt, final ('1' after a final event), user, audience ('user' or 'tenant')
 *     touched                        when its time to live was last set, in seconds
 *     w:<writer>                     number and outcome of the writer's last group: Redis clients send a command again
 *                                    when its reply was lost, and the second time must append nothing
 *     base_seq, base_text, base_sources   what was trimmed, folded: the text of the attempt up to base_seq as the inside
 *                                    of a JSON string, and its sources as JSON
 */
import { createScript } from './script.ts';

/**
 * Appends groups of events (each of one topic and attempt), all or nothing per run, and publishes them in one message.
 *
 * KEYS  per group: metadata, stream
 * ARGV  channel, writer, seconds to live, seconds to live after a final event, kept events, seconds since the epoch, then
 *       per group: tenant, topic, attempt, user, audience, number, mode (`plain`, `restorable`, `rebuild`), epoch if it
 *       begins a log, count, then per event: type, class (`final`, `queued`, `-`), ts, data
 * Returns per group how many of its events were appended, from its first on (fewer: a newer attempt owns the log, or the
 * attempt has ended), or -1 where a `restorable` group found no log.
 */
export const appendScript = createScript(`
local channel, writer = ARGV[1], 'w:' .. ARGV[2]
local ttl, finalTtl, kept, now = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local at, lines, replies = 7, {}, {}

local function fold(meta, log, excess)
  local cut = redis.call('XRANGE', log, '-', '+', 'COUNT', excess)
  local text = redis.call('HGET', meta, 'base_text') or ''
  local sources = redis.call('HGET', meta, 'base_sources') or '[]'
  local parts = { text }
  for _, entry in ipairs(cut) do
    local type, data = entry[2][2], entry[2][6]
    if type == 'turn.delta' then
      parts[#parts + 1] = string.sub(data, 10, -3)
    elseif type == 'turn.sources' then
      sources = string.sub(data, 12, -2)
    elseif type == 'turn.started' or type == 'turn.queued' then
      parts, sources = {}, '[]'
    end
  end
  local last = tonumber(string.match(cut[#cut][1], '^%d+'))
  redis.call('HSET', meta, 'base_seq', last, 'base_text', table.concat(parts), 'base_sources', sources)
  redis.call('XTRIM', log, 'MINID', (last + 1) .. '-0')
end

for k = 1, #KEYS, 2 do
  local meta, log = KEYS[k], KEYS[k + 1]
  local tenant, topic, attempt, user, audience = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 4]
  local number, mode, fresh, count = tonumber(ARGV[at + 5]), ARGV[at + 6], ARGV[at + 7], tonumber(ARGV[at + 8])
  local first = at + 9
  at = first + 4 * count

  local had = redis.call('HMGET', meta, 'epoch', 'seq', 'attempt', 'final', 'audience', 'base_seq', 'touched', writer)
  local epoch, seq, known, final = had[1], tonumber(had[2] or 0), tonumber(had[3] or 0), had[4] == '1'
  local base, touched = tonumber(had[6] or 0), tonumber(had[7] or 0)
  local lastNumber, lastReply = string.match(had[8] or '', '^(%d+) (%d+)$')
  local appended = 0
  if attempt > known then final = false end

  if lastNumber and tonumber(lastNumber) >= number then
    appended = tonumber(lastReply)
  elseif attempt < known or (final and ARGV[first + 1] ~= 'queued') then
    appended = 0
  elseif mode == 'restorable' and seq == 0 then
    appended = -1
  else
    if mode == 'rebuild' or not epoch then
      redis.call('DEL', meta, log)
      epoch, seq, base, touched = fresh, 0, 0, 0
      redis.call('HSET', meta, 'epoch', epoch)
    end
    lines[#lines + 1] = 'L ' .. tenant .. ' ' .. topic .. ' ' .. epoch .. ' ' .. (seq + 1)
    for i = first, at - 1, 4 do
      local type, class, ts, data = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
      if final and class ~= 'queued' then break end
      seq, appended, final = seq + 1, appended + 1, class == 'final'
      redis.call('XADD', log, seq .. '-0', 'type', type, 'ts', ts, 'data', data)
      lines[#lines + 1] = '{"type":"' .. type .. '","topic":"' .. topic .. '","epoch":"' .. epoch
        .. '","seq":' .. seq .. ',"ts":"' .. ts .. '","data":' .. data .. '}'
    end
    local outcome = number .. ' ' .. appended
    if had[5] == 'user' then audience = 'user' end
    local changed = attempt ~= known or final ~= (had[4] == '1') or audience ~= had[5]
    -- Most groups are one delta: they change the number alone, and the time to live now and then.
    if changed or touched == 0 or now - touched > tonumber(ttl) / 16 then
      redis.call('HSETNX', meta, 'user', user)
      redis.call('HSET', meta, 'seq', seq, writer, outcome, 'attempt', attempt, 'final', final and '1' or '0',
        'audience', audience, 'touched', now)
      local life = final and finalTtl or ttl
      redis.call('EXPIRE', meta, life)
      redis.call('EXPIRE', log, life)
    else
      redis.call('HSET', meta, 'seq', seq, writer, outcome)
    end
    local excess = seq - base - kept
    if excess > 0 then fold(meta, log, excess + math.floor(kept / 4)) end
  end
  replies[#replies + 1] = appended
end
if #lines > 0 then redis.call('SPUBLISH', channel, table.concat(lines, '\\n')) end
return replies
`);

/**
 * Reads a part of a log together with its metadata, as of one moment.
 *
 * KEYS  metadata, stream
 * ARGV  the last seq that the reader has, at most so many events
 * Returns nil where there is no log; else {epoch, seq, user, audience, attempt, final, first kept seq (seq + 1 when
 * nothing is kept), base_seq, base_text, base_sources, {seq, type, ts, data, seq, …}}; what is not set is ''.
 */
export const readScript = createScript(`
local had = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'user', 'audience', 'attempt', 'final', 'base_seq', 'base_text', 'base_sources')
if not had[1] then return nil end
local function kept(entry) return string.match(entry[1], '^%d+') end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
local first = oldest and kept(oldest) or tostring(tonumber(had[2]) + 1)
local events = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])) do
  local fields = entry[2]
  events[#events + 1] = kept(entry)
  events[#events + 1] = fields[2]
  events[#events + 1] = fields[4]
  events[#events + 1] = fields[6]
end
return {had[1], had[2] or '0', had[3] or '', had[4] or '', had[5] or '0', had[6] or '0', first, had[7] or '', had[8] or '', had[9] or '', events}
`);

/**
 * Begins an empty log for a topic that has none, so that a reader who was told its state from the database and the writer
 * who comes later mean the same epoch. Names no user: until a writer does, every reader is checked against the database.
 *
 * KEYS  metadata
 * ARGV  epoch, seconds to live
 * Returns {epoch, seq} of the log that is there now.
 */
export const beginScript = createScript(`
if redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'seq', 0, 'attempt', 0, 'final', '0')
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'epoch', 'seq')
`);
