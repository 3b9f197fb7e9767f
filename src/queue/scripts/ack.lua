-- Acknowledges and deletes entries that are still this consumer's. The last one takes its stream and all traces with it.
-- ARGV[1]  consumer
-- ARGV[2]  '1' where streams are capped over all consumers, so that an acknowledgement may make its stream ready again
-- ARGV[3…] stream, number of ids, ids…
-- Returns for each: 0 not pending at all (acknowledged before, or lost), -1 another consumer's by now; else it was
-- acknowledged: 1 + the number of entries of its stream that are not delivered yet.
-- Where this consumer alone holds entries of a stream, nothing that is pending can be another's, and who holds what is not
-- listed. An entry whose group was lost meanwhile is deleted along there: its row is settled.
local consumer, capped = ARGV[1], ARGV[2] == '1'

-- What follows an acknowledgement that left so many of the stream pending; returns how many are not delivered yet.
local function acknowledged(stream, ids, pending)
  redis.call('XDEL', stream, unpack(ids))
  local length = redis.call('XLEN', stream)
  if length == 0 then
    forget(stream)
    return 0
  end
  if capped and not isReady(stream) and hasUndelivered(stream, groupOf(stream)) then enterReady(stream) end
  -- Entries that were trimmed away while somebody held them make it too few.
  return math.max(0, length - pending)
end

-- True where nobody but this consumer holds anything of the stream: whatever is pending is its own.
local function holdsAlone(held)
  return not held.err and held[1] > 0 and #held[4] == 1 and held[4][1][1] == consumer
end

local result, index = {}, 3
while index < #ARGV do
  local stream, last = ARGV[index], index + 1 + tonumber(ARGV[index + 1])
  local held = redis.pcall('XPENDING', stream, GROUP)
  if holdsAlone(held) then
    local ids = {}
    for i = index + 2, last do ids[#ids + 1] = ARGV[i] end
    local acked = redis.call('XACK', stream, GROUP, unpack(ids))
    local there = {}
    if acked < #ids then
      for i, id in ipairs(ids) do there[i] = #redis.call('XRANGE', stream, id, id) end
    end
    local more = acknowledged(stream, ids, held[1] - acked)
    for i = 1, #ids do result[#result + 1] = there[i] == 0 and 0 or 1 + more end
  else
    eachOwnOf(consumer, index, last, result, function(_, ids)
      redis.call('XACK', stream, GROUP, unpack(ids))
      return acknowledged(stream, ids, held[1] - #ids)
    end)
  end
  index = last + 1
end
return result
