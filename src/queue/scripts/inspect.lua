-- What a stream holds, whether delivered or not; on the way it gets back a lost group or a lost place among the others.
-- KEYS[5]  the stream
-- ARGV[1]  id from which to list, at first '-'
-- ARGV[2]  most entries to list
-- Returns {id to go on from or '' at the end, job of each entry…}.
local stream, count = KEYS[5], tonumber(ARGV[2])
if redis.call('EXISTS', stream) == 0 then
  if redis.call('SISMEMBER', ACTIVE, stream) == 1 then forgetEmpty(stream) end
  return { '' }
end
if ARGV[1] == '-' then
  if not groupOf(stream) then createGroup(stream) end
  redis.call('SADD', ACTIVE, stream)
  if hasUndelivered(stream, groupOf(stream)) then enterReady(stream) end
end
local entries = redis.call('XRANGE', stream, ARGV[1], '+', 'COUNT', count)
local result = { #entries == count and '(' .. entries[count][1] or '' }
for _, entry in ipairs(entries) do table.insert(result, jobOf(entry)) end
return result
