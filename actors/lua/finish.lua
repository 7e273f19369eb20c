-- Ends a delivery: the acknowledgement, what comes next and the ledger's entry, all or nothing.
-- Does nothing if this delivery is not held any more, so it may be sent again when its answer was lost.
--   KEYS  messages, crashes, held by this worker, ready, delayed, dead, dead messages, ledger, ledger entries
--         (ready, delayed and dead are those of the queue that the message goes to)
--   ARGV  key, serial, verdict, message, delay in ms, channel, queue,
--         ledger entry ('' for none), its ms to live, most entries (-1: any), their longest age in ms (-1: any)
--   verdict  next: onto the queue · later: onto the queue after the delay · back: to the queue's front, as it was
--            done: off the belt · dead: off the belt, kept as a dead letter
--   returns 1, or 0 if the delivery was not held
local key, verdict, message = ARGV[1], ARGV[3], ARGV[4]
local held = redis.call('HGET', KEYS[3], key)
if not held or string.match(held, '^(%d+):') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[3], key)
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)

if verdict == 'back' then
  if redis.call('LPUSH', KEYS[4], key) == 1 then
    redis.call('PUBLISH', ARGV[6], ARGV[7])
  end
  return 1
end
if verdict ~= 'later' then -- another attempt is still the same work, and may still bring its worker down
  redis.call('HDEL', KEYS[2], key)
end
if verdict == 'next' then
  redis.call('HSET', KEYS[1], key, message)
  if redis.call('RPUSH', KEYS[4], key) == 1 then
    redis.call('PUBLISH', ARGV[6], ARGV[7])
  end
elseif verdict == 'later' then
  redis.call('HSET', KEYS[1], key, message)
  redis.call('ZADD', KEYS[5], ms + tonumber(ARGV[5]), key)
else
  redis.call('HDEL', KEYS[1], key)
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

if ARGV[8] ~= '' then
  keep(KEYS[8], KEYS[9], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]))
end
if verdict == 'dead' then
  redis.call('ZADD', KEYS[6], ms, key)
  redis.call('HSET', KEYS[7], key, message)
  trim(KEYS[6], KEYS[7], redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', '(' .. (ms - 7 * 86400 * 1000)))
  trim(KEYS[6], KEYS[7], redis.call('ZRANGE', KEYS[6], 0, -10001))
end
return 1
