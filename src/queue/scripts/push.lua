-- Appends jobs to a tenant's stream and makes it ready.
-- KEYS[5]  the stream
-- ARGV[1]  most entries the stream may hold, about: a guard of the memory, far above what the feeder hands out
-- ARGV[2…] the jobs
-- Returns the number of entries appended.
local stream = KEYS[5]
for i = 2, #ARGV do
  if not redis.call('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', 'job', ARGV[i]) then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    redis.call('XADD', stream, '*', 'job', ARGV[i])
  end
end
redis.call('SADD', ACTIVE, stream)
enterReady(stream)
return #ARGV - 1
