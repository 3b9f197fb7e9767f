-- Gives entries that are still this consumer's back, to be claimed by whoever finds them idle for long enough.
-- ARGV[1]  consumer
-- ARGV[2]  milliseconds for which they count as idle already
-- ARGV[3]  '1' where their last delivery does not count
-- ARGV[4…] stream, number of ids, ids…
-- Returns for each: 1 released, 0 not pending at all, -1 another consumer's by now.
local idle, uncounted = ARGV[2], ARGV[3] == '1'
return eachOwn(ARGV[1], 4, function(stream, ids, own)
  for _, id in ipairs(ids) do
    local deliveries = uncounted and math.max(own[id] - 1, 0) or own[id]
    redis.call('XCLAIM', stream, GROUP, NOBODY, 0, id, 'IDLE', idle, 'RETRYCOUNT', deliveries, 'JUSTID')
  end
end)
