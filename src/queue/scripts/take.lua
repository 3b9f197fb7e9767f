-- Takes entries in fair order: always from the ready stream with the lowest virtual time that has room under its caps.
-- ARGV[1]  consumer
-- ARGV[2]  most entries to take
-- ARGV[3]  most entries of one stream that this consumer may hold
-- ARGV[4]  most entries of one stream that all consumers together may hold; 0: no limit
-- ARGV[5…] stream, number of its entries that this consumer holds; for those of which it holds some
-- Returns {streams that were ready, those of them that this consumer may hold no more of, {stream, id, job, id, job…}…}, a list a
-- read. Fewer than asked: nothing more may be taken now.
local consumer, slots = ARGV[1], tonumber(ARGV[2])
local ownLimit, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local held = {}
for i = 5, #ARGV, 2 do held[ARGV[i]] = tonumber(ARGV[i + 1]) end

-- Entries that were never delivered; nil where the stream is gone.
local function read(stream, count)
  local reply = redis.pcall('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  if not reply then return {} end
  if not reply.err then return reply[1][2] end
  if redis.call('EXISTS', stream) == 0 then return nil end
  createGroup(stream)
  reply = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', stream, '>')
  return reply and reply[1][2] or {}
end

local ready = redis.call('ZCARD', READY)
local now = 0
local result = { ready, 0 }
-- With few slots this is entry by entry; with more, everyone gets an equal share of them in turn.
local share = math.max(1, math.floor(slots / math.max(1, ready)))
-- Streams in front of the order that have no room in this consumer; and all that are ready still.
local passed, left = 0, ready
while slots > 0 and passed < left do
  local head = redis.call('ZRANGE', READY, passed, passed, 'WITHSCORES')
  if #head == 0 then break end
  local stream, time = head[1], tonumber(head[2])
  local room = math.min(slots, ownLimit - (held[stream] or 0))
  local capped = false
  if limit > 0 then
    local group = groupOf(stream)
    local all = group and limit - group.pending or limit
    capped = all <= 0
    room = math.min(room, all)
  end
  if capped then
    -- An acknowledgement brings it back.
    leaveReady(stream, time)
    left = left - 1
  elseif room <= 0 then
    passed = passed + 1
  else
    local count = math.min(room, share)
    local entries = read(stream, count)
    if not entries then
      forgetEmpty(stream)
      left = left - 1
    else
      now = math.max(now, time)
      local taken
      taken, time = takenOf(stream, entries, time)
      if #entries > 0 then result[#result + 1] = taken end
      slots = slots - #entries
      held[stream] = (held[stream] or 0) + #entries
      local last = #entries == count and redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
      if last and last ~= entries[#entries][1] then
        redis.call('ZADD', READY, score(time), stream)
      else
        leaveReady(stream, time)
        left = left - 1
      end
    end
  end
end
result[2] = passed
if #result > 2 then moveClock(now) end
return result
