-- Acknowledges and deletes entries that are still this consumer's. The last one takes its stream and all traces with it.
-- ARGV[1]  consumer
-- ARGV[2]  '1' where streams are capped over all consumers, so that an acknowledgement may make its stream ready again
-- ARGV[3…] stream, number of ids, ids…
-- Returns for each: 1 acknowledged, 0 not pending at all (acknowledged before, or lost), -1 another consumer's by now.
local capped = ARGV[2] == '1'
return eachOwn(ARGV[1], 3, function(stream, ids)
  redis.call('XACK', stream, GROUP, unpack(ids))
  redis.call('XDEL', stream, unpack(ids))
  if forgetEmpty(stream) or not capped or isReady(stream) then return end
  local group = groupOf(stream)
  if group and hasUndelivered(stream, group) then enterReady(stream) end
end)
