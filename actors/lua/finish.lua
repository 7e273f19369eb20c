-- Ends a delivery: the acknowledgement, what comes next and the ledger's entry, all or nothing.
-- Does nothing if this delivery is not held any more, so it may be sent again when its answer was lost.
--   KEYS  held by this worker, ledger, ledger entries
--   ARGV  key, serial, verdict, message, delay in ms, queue that the message goes to,
--         ledger entry ('' for none), its ms to live, most entries (-1: any), their longest age in ms (-1: any)
--   verdict  next: onto the queue · later: onto the queue after the delay · back: to its session's front, as it was
--            done: off the belt · dead: off the belt, kept as a dead letter
--   returns 1, or 0 if the delivery was not held
local key, verdict, message, queue = ARGV[4], ARGV[6], ARGV[7], ARGV[9]
local held = redis.call('HGET', KEYS[OWN], key)
local serial, _, _, _, charged = unpack_held(held or '')
if not serial or serial ~= ARGV[5] then
  return 0
end
redis.call('HDEL', KEYS[OWN], key) -- first, for a full Redis lets scripts go on that begin by giving memory back
local ms = now()
if charged then
  charge(charged.session, -charged.charge)
end
local place = charged or split(redis.call('HGET', MESSAGES, key) or '')

if verdict == 'back' then
  put(queue, key, place, ms, true)
  return 1
end
if verdict ~= 'later' then -- another attempt is still the same work, and may still bring its worker down
  redis.call('HDEL', CRASHES, key)
end
if verdict == 'next' then
  redis.call('HSET', MESSAGES, key, join(place, message))
  put(queue, key, place, ms)
elseif verdict == 'later' then
  redis.call('HSET', MESSAGES, key, join(place, message))
  redis.call('ZADD', KEYS[find(queue) + DELAYED], ms + tonumber(ARGV[8]), key)
  redis.call('PUBLISH', ARGV[2], queue) -- for whoever sleeps longer than that: this worker may have no thread free then
else
  redis.call('HDEL', MESSAGES, key)
end

local function trim(index, entries, keys)
  for i = 1, #keys, 500 do
    local chunk = {unpack(keys, i, math.min(i + 499, #keys))}
    redis.call('ZREM', index, unpack(chunk))
    redis.call('HDEL', entries, unpack(chunk))
  end
end

local function keep(index, entries, entry, ttl, most, age)
  redis.call('ZADD', index, ms, key)
  redis.call('HSET', entries, key, entry)
  if age < 0 or age > ttl then
    age = ttl
  end
  trim(index, entries, redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. (ms - age)))
  if most >= 0 then
    trim(index, entries, redis.call('ZRANGE', index, 0, -most - 1))
  end
  redis.call('PEXPIRE', index, ttl)
  redis.call('PEXPIRE', entries, ttl)
end

if ARGV[10] ~= '' then
  keep(KEYS[OWN + 1], KEYS[OWN + 2], ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]))
end
if verdict == 'dead' then
  local dead = KEYS[find(queue) + DEAD]
  bury(queue, key, message, ms)
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGEBYSCORE', dead, '-inf', '(' .. (ms - 7 * 86400 * 1000)))
  trim(dead, DEAD_MESSAGES, redis.call('ZRANGE', dead, 0, -10001))
end
return 1
