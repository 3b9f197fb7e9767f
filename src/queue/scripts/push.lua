-- Appends jobs to a tenant's stream and makes it ready; or gives the first of them to a consumer at once, where no stream of
-- the partition is ready and this one is new, so that nobody waits and nothing of it is held by anyone.
-- KEYS[5]  the stream
-- ARGV[1]  most entries the stream may hold, about: a guard of the memory, far above what the feeder hands out
-- ARGV[2]  consumer that would take some, or ''
-- ARGV[3]  most that it would take
-- ARGV[4…] the jobs
-- Returns {} where it was given nothing, else {{stream, id, job, id, job…}}.
local stream, consumer, slots = KEYS[5], ARGV[2], tonumber(ARGV[3])
local isNew = false
for i = 4, #ARGV do
  if not redis.call('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', ARGV[1], '*', 'job', ARGV[i]) then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
    redis.call('XADD', stream, '*', 'job', ARGV[i])
    isNew = true
  end
end
redis.call('SADD', ACTIVE, stream)
if slots == 0 or not isNew or redis.call('ZCARD', READY) > 0 then
  enterReady(stream)
  return {}
end
local start = startOf(stream)
local entries = redis.call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', slots, 'STREAMS', stream, '>')[1][2]
local taken, time = takenOf(stream, entries, start)
redis.call('ZADD', FAIRNESS, score(time), stream)
moveClock(start)
if #entries < #ARGV - 3 then enterReady(stream) end
return { taken }
