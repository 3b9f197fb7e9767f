-- One step over the active streams: gives back everything that is pending to this consumer, at once claimable and without
-- counting its delivery, and removes the consumer. Call again with the returned cursor until it is '0'.
-- ARGV[1]  consumer
-- ARGV[2]  milliseconds for which the entries count as idle already
-- ARGV[3]  cursor, at first '0'
-- ARGV[4]  streams a step, about
-- Returns {cursor, number of entries given back}.
local consumer = ARGV[1]
local step = redis.call('SSCAN', ACTIVE, ARGV[3], 'COUNT', ARGV[4])
local released = 0
for _, stream in ipairs(step[2]) do
  for id, deliveries in pairs(pendingTo(consumer, stream)) do
    local counted = math.max(deliveries - 1, 0)
    redis.call('XCLAIM', stream, GROUP, NOBODY, 0, id, 'IDLE', ARGV[2], 'RETRYCOUNT', counted, 'JUSTID')
    released = released + 1
  end
  redis.pcall('XGROUP', 'DELCONSUMER', stream, GROUP, consumer)
end
return { step[1], released }
