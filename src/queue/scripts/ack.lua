-- Acknowledges and deletes entries that are still this consumer's. The last one takes its stream and all traces with it.
-- ARGV[1]  consumer
-- ARGV[2]  '1' where streams are capped over all consumers, so that an acknowledgement may make its stream ready again
-- ARGV[3…] stream, number of ids, ids…
-- Returns for each: 0 not pending at all (acknowledged before, or lost), -1 another consumer's by now; else it was
-- acknowledged: 1 + the number of entries of its stream that are not delivered yet.
local capped = ARGV[2] == '1'
return eachOwn(ARGV[1], 3, function(stream, ids)
  redis.call('XACK', stream, GROUP, unpack(ids))
  redis.call('XDEL', stream, unpack(ids))
  if forgetEmpty(stream) then return 0 end
  if capped and not isReady(stream) and hasUndelivered(stream, groupOf(stream)) then enterReady(stream) end
  -- Entries that were trimmed away while somebody held them make it too few.
  return math.max(0, redis.call('XLEN', stream) - redis.call('XPENDING', stream, GROUP)[1])
end)
