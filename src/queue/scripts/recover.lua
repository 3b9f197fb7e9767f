-- One step over the active streams: delivers again what was delivered to this consumer in a reply that never arrived.
-- ARGV[1]  consumer
-- ARGV[2]  most entries to deliver
-- ARGV[3]  cursor, at first '0'
-- ARGV[4]  streams a step, about
-- ARGV[5…] stream and id, joined by a space, of every entry of the partition that this consumer knows it holds
-- Returns {cursor, {{stream, id, job, deliveries}…}, 1 where some were left for want of room, else 0}.
local consumer, slots = ARGV[1], tonumber(ARGV[2])
local known = {}
for i = 5, #ARGV do known[ARGV[i]] = true end

local step = redis.call('SSCAN', ACTIVE, ARGV[3], 'COUNT', ARGV[4])
local found, left = {}, 0
for _, stream in ipairs(step[2]) do
  for id, deliveries in pairs(pendingTo(consumer, stream)) do
    if not known[stream .. ' ' .. id] then
      if slots > 0 then
        local entry = redis.call('XCLAIM', stream, GROUP, consumer, 0, id)[1]
        -- An entry that was trimmed away has nothing to deliver; the claim took it off the list.
        if entry then
          table.insert(found, { stream, id, jobOf(entry), deliveries + 1 })
          slots = slots - 1
        end
      else
        left = 1
      end
    end
  end
end
return { step[1], found, left }
