-- Appends domain events to a tenant's stream, all or none: an event never stands in it without those before it.
-- KEYS[1]  the stream of domain events; none of the keys that the other scripts begin with
-- ARGV[1]  most entries the stream keeps, about
-- ARGV[2]  seconds after which it is gone when nothing more comes
-- ARGV[3…] the events
-- Returns the number of entries appended.
local stream = KEYS[1]
for i = 3, #ARGV do redis.call('XADD', stream, 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[i]) end
redis.call('EXPIRE', stream, ARGV[2])
return #ARGV - 2
