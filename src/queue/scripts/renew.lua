-- Resets the idle time of entries that are still this consumer's; no delivery is counted.
-- ARGV[1]  consumer
-- ARGV[2…] stream, number of ids, ids…
-- Returns for each: 1 renewed, 0 not pending at all, -1 another consumer's by now.
local consumer = ARGV[1]
return eachOwn(consumer, 2, function(stream, ids)
  local claim = { 'XCLAIM', stream, GROUP, consumer, 0, unpack(ids) }
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end)
