-- Appends jobs to a tenant's stream and makes it ready.
-- KEYS[5]  the stream
-- ARGV[1]  most entries the stream may hold, about: a guard of the memory, far above what the feeder hands out
-- ARGV[2]  number of arguments of one entry
-- ARGV[3…] fields and values of the entries, one after the other
-- Returns the number of entries appended.
local stream, size = KEYS[5], tonumber(ARGV[2])
local isNew = redis.call('EXISTS', stream) == 0
local count = 0
for first = 3, #ARGV, size do
  redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, first, first + size - 1))
  count = count + 1
end
if isNew then createGroup(stream) end
redis.call('SADD', ACTIVE, stream)
enterReady(stream)
return count
