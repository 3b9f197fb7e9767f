-- One step over the active streams: claims entries that stayed idle, drops consumers that have gone, and makes streams
-- ready again that lost their place. Call again with the returned cursor until it is '0'.
-- ARGV[1]  consumer
-- ARGV[2]  idle time in milliseconds after which an entry is claimed
-- ARGV[3]  most entries to claim
-- ARGV[4]  most entries of one stream that this consumer may hold
-- ARGV[5]  most entries of one stream that all consumers together may hold; 0: no limit
-- ARGV[6]  idle time in milliseconds after which a consumer with nothing pending is dropped
-- ARGV[7]  cursor, at first '0'
-- ARGV[8]  streams a step, about
-- ARGV[9…] stream, number of its entries that this consumer holds; for those of which it holds some
-- Returns {cursor, {{stream, id, job, deliveries}…}, {stream and id of pending entries that had vanished…}}.
local consumer, minIdle, slots = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ownLimit, limit, goneAfter = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local held = {}
for i = 9, #ARGV, 2 do held[ARGV[i]] = tonumber(ARGV[i + 1]) end

local claimed, vanished = {}, {}

local function claim(stream)
  local room = math.min(slots, ownLimit - (held[stream] or 0))
  if room <= 0 then return end
  local reply = redis.call('XAUTOCLAIM', stream, GROUP, consumer, minIdle, '0-0', 'COUNT', room)
  if #reply[2] > 0 then
    local deliveries = pendingTo(consumer, stream)
    for _, entry in ipairs(reply[2]) do
      table.insert(claimed, { stream, entry[1], jobOf(entry), deliveries[entry[1]] })
      slots = slots - 1
    end
  end
  for _, id in ipairs(reply[3]) do table.insert(vanished, stream .. ' ' .. id) end
end

local function dropGone(stream)
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, GROUP)) do
    local field = {}
    for i = 1, #row, 2 do field[row[i]] = row[i + 1] end
    if field['pending'] == 0 and field['idle'] >= goneAfter and field['name'] ~= consumer then
      redis.call('XGROUP', 'DELCONSUMER', stream, GROUP, field['name'])
    end
  end
end

local function visit(stream)
  local group = groupOf(stream)
  if not group then
    if redis.call('EXISTS', stream) == 0 then
      forgetEmpty(stream)
      return
    end
    createGroup(stream)
    group = groupOf(stream)
  end
  claim(stream)
  dropGone(stream)
  if forgetEmpty(stream) or isReady(stream) or (limit > 0 and group.pending >= limit) then return end
  if hasUndelivered(stream, group) then enterReady(stream) end
end

local step = redis.call('SSCAN', ACTIVE, ARGV[7], 'COUNT', ARGV[8])
for _, stream in ipairs(step[2]) do visit(stream) end
return { step[1], claimed, vanished }
