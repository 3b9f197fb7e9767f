-- What every script of the queue begins with. All keys lie in the slot of one partition; streams that are not named in
-- KEYS are members of the sets that are, so they lie in the same slot.
--
-- KEYS[1] ready     sorted set: streams from which something may be taken, by the virtual time of their next entry
-- KEYS[2] active    set: streams that exist
-- KEYS[3] fairness  sorted set: streams that are not ready, by the virtual time they return at; '@clock' is the partition's
-- KEYS[4] doorbell  sharded channel: a stream became ready
--
-- Order is start-time fair queuing (Goyal, Vin, Cheng 1996): an entry starts at its stream's virtual time, which each
-- entry moves on by 1 / weight; the clock is the start of what was taken last; who returns starts at the clock or at the
-- time it had left with, whichever is later, so going idle neither saves up nor pays off. When nothing is active, the
-- partition has no key left.
local READY, ACTIVE, FAIRNESS, DOORBELL = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CLOCK = '@clock'
local GROUP = 'workers'
-- Holds what nobody works on: it is claimed like the entries of a dead worker, once it is idle for long enough.
local NOBODY = 'nobody'

-- Lua prints 14 digits of a number, too few for a score.
local function score(number)
  return string.format('%.17g', number)
end

local function isReady(stream)
  return redis.call('ZSCORE', READY, stream)
end

-- The virtual time at which a stream that is not ready starts; and whether it has left one behind.
local function startOf(stream)
  local times = redis.call('ZMSCORE', FAIRNESS, stream, CLOCK)
  return math.max(tonumber(times[1] or '0'), tonumber(times[2] or '0')), times[1]
end

local function enterReady(stream)
  if isReady(stream) then return end
  local start, hasLeft = startOf(stream)
  redis.call('ZADD', READY, score(start), stream)
  if hasLeft then redis.call('ZREM', FAIRNESS, stream) end
  redis.call('SPUBLISH', DOORBELL, '1')
end

local function leaveReady(stream, time)
  redis.call('ZREM', READY, stream)
  redis.call('ZADD', FAIRNESS, score(time), stream)
end

-- Something that started at this time was taken: the clock moves on. Whoever left with a time that it has passed starts at
-- the clock like anybody new, so that need not be kept; where there was no clock, nothing was.
local function moveClock(time)
  if redis.call('ZADD', FAIRNESS, 'GT', score(time), CLOCK) == 0 then
    redis.call('ZREMRANGEBYSCORE', FAIRNESS, '-inf', '(' .. score(time))
  end
end

-- Forgets a stream. The group and its consumers go with it.
local function forget(stream)
  redis.call('DEL', stream)
  redis.call('ZREM', READY, stream)
  redis.call('SREM', ACTIVE, stream)
  if redis.call('SCARD', ACTIVE) == 0 then redis.call('DEL', READY, FAIRNESS) end
end

-- Forgets a stream without entries; true if it was one.
local function forgetEmpty(stream)
  if redis.call('XLEN', stream) > 0 then return false end
  forget(stream)
  return true
end

-- Makes a lost group again. From id 0: what was handed out and not acknowledged comes again, and its row decides.
local function createGroup(stream)
  redis.call('XGROUP', 'CREATE', stream, GROUP, '0')
end

-- The group's id of the last delivered entry and number of pending ones; nil where there is no such group.
local function groupOf(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return nil end
  for _, group in ipairs(groups) do
    local field = {}
    for i = 1, #group, 2 do field[group[i]] = group[i + 1] end
    if field['name'] == GROUP then
      return { delivered = field['last-delivered-id'], pending = field['pending'] }
    end
  end
  return nil
end

local function hasUndelivered(stream, group)
  return #redis.call('XRANGE', stream, '(' .. group.delivered, '+', 'COUNT', 1) > 0
end

-- The entries of a stream that are pending to a consumer: id → number of deliveries.
local function pendingTo(consumer, stream)
  local rows = redis.pcall('XPENDING', stream, GROUP, '-', '+', 100000, consumer)
  local own = {}
  if rows.err then return own end
  for _, row in ipairs(rows) do own[row[1]] = row[4] end
  return own
end

-- Why an entry is not pending to a consumer: 0 where it is pending to nobody, -1 where another consumer has it.
local function notOwn(stream, id)
  local rows = redis.pcall('XPENDING', stream, GROUP, id, id, 1)
  return (rows.err or #rows == 0) and 0 or -1
end

-- Looks at the entries of one stream that ARGV names from `index`, as stream, number of ids, ids…, to `last`. `fn(stream, ids,
-- own)` gets the ids that are pending to the consumer. Appends for each entry, in order: 1 where it is, and what `fn`
-- returned on top of that; 0 where it is pending to nobody, -1 where another consumer has it.
local function eachOwnOf(consumer, index, last, result, fn)
  local stream = ARGV[index]
  local own = pendingTo(consumer, stream)
  local ids, places = {}, {}
  for i = index + 2, last do
    result[#result + 1] = 1
    if own[ARGV[i]] then
      ids[#ids + 1], places[#places + 1] = ARGV[i], #result
    else
      result[#result] = notOwn(stream, ARGV[i])
    end
  end
  local more = #ids > 0 and fn(stream, ids, own) or 0
  for _, place in ipairs(places) do result[place] = 1 + more end
end

-- The same for all streams that ARGV names from an index on; returns the result.
local function eachOwn(consumer, index, fn)
  local result = {}
  while index < #ARGV do
    local last = index + 1 + tonumber(ARGV[index + 1])
    eachOwnOf(consumer, index, last, result, fn)
    index = last + 1
  end
  return result
end

-- By how much a job moves its stream's virtual time on.
local function costOf(job)
  local weight = tonumber(string.match(job, '^%d+ (%S+)'))
  return weight and weight > 0 and 1 / weight or 1
end

-- The job of an entry, as it was pushed; '' where the entry is none of ours.
local function jobOf(entry)
  local fields = entry[2]
  return fields[1] == 'job' and fields[2] or ''
end

-- What a consumer is told of entries that it was given, {stream, id, job, id, job…}; and their stream's virtual time after
-- them, where it was `time` before.
local function takenOf(stream, entries, time)
  local taken = { stream }
  for i, entry in ipairs(entries) do
    local job = jobOf(entry)
    time = time + costOf(job)
    taken[2 * i], taken[2 * i + 1] = entry[1], job
  end
  return taken, time
end
