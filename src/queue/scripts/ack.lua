-- Acknowledges and deletes entries that are still this consumer's. The last one takes its stream and all traces with it.
-- ARGV[1]  consumer
-- ARGV[2]  '1' where streams are capped over all consumers, so that an acknowledgement may make its stream ready again
-- ARGV[3…] stream, id
-- Returns for each: 1 acknowledged, 0 not pending at all (acknowledged before, or lost), -1 another consumer's by now.
local consumer, capped = ARGV[1], ARGV[2] == '1'
local result = {}
for i = 3, #ARGV, 2 do
  local stream, id = ARGV[i], ARGV[i + 1]
  local entry = pendingEntry(stream, id)
  if not entry then
    table.insert(result, 0)
  elseif entry.consumer ~= consumer then
    table.insert(result, -1)
  else
    redis.call('XACK', stream, GROUP, id)
    redis.call('XDEL', stream, id)
    if not forgetEmpty(stream) and capped and not isReady(stream) then
      local group = groupOf(stream)
      if group and hasUndelivered(stream, group) then enterReady(stream) end
    end
    table.insert(result, 1)
  end
end
return result
