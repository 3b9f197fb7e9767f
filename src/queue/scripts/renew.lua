-- Resets the idle time of entries that are still this consumer's; no delivery is counted.
-- ARGV[1]  consumer
-- ARGV[2…] stream, id
-- Returns for each: 1 renewed, 0 not pending at all, -1 another consumer's by now.
local consumer = ARGV[1]
local result = {}
for i = 2, #ARGV, 2 do
  local stream, id = ARGV[i], ARGV[i + 1]
  local entry = pendingEntry(stream, id)
  if not entry then
    table.insert(result, 0)
  elseif entry.consumer ~= consumer then
    table.insert(result, -1)
  else
    redis.call('XCLAIM', stream, GROUP, consumer, 0, id, 'JUSTID')
    table.insert(result, 1)
  end
end
return result
