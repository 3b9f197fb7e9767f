-- Gives entries that are still this consumer's back, to be claimed by whoever finds them idle for long enough.
-- ARGV[1]  consumer
-- ARGV[2]  milliseconds for which they count as idle already
-- ARGV[3]  '1' where their last delivery does not count
-- ARGV[4…] stream, id
-- Returns for each: 1 released, 0 not pending at all, -1 another consumer's by now.
local consumer, idle, uncounted = ARGV[1], ARGV[2], ARGV[3] == '1'
local result = {}
for i = 4, #ARGV, 2 do
  local stream, id = ARGV[i], ARGV[i + 1]
  local entry = pendingEntry(stream, id)
  if not entry then
    table.insert(result, 0)
  elseif entry.consumer ~= consumer then
    table.insert(result, -1)
  else
    local deliveries = uncounted and math.max(entry.deliveries - 1, 0) or entry.deliveries
    redis.call('XCLAIM', stream, GROUP, NOBODY, 0, id, 'IDLE', idle, 'RETRYCOUNT', deliveries, 'JUSTID')
    table.insert(result, 1)
  end
end
return result
