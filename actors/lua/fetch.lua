-- Hands messages to a worker, from the given queues in their order; what is due moves up first.
--   KEYS  messages, crashes, serial, workers, held by this worker, dead messages,
--         then for each queue: ready, delayed, dead
--   ARGV  worker, how many, then the queues
--   returns {ms until the next delayed message or -1, {key, serial, crashes, queue, message}, …}
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local wanted = tonumber(ARGV[2])
local next_due = -1
local answer = {next_due}
-- The reaper finds held messages through this set alone, so whoever holds any must stand in it.
-- A full Redis refuses scripts that begin with a write that needs memory, and fetching is what makes it emptier.
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[4], ms, ARGV[1])
for q = 1, #ARGV - 2 do
  local ready, delayed, dead = KEYS[3 * q + 4], KEYS[3 * q + 5], KEYS[3 * q + 6]
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', ms, 'LIMIT', 0, 1000)
  for i = #due, 1, -1 do -- to the front, the longest due first: they have waited in a queue before
    redis.call('ZREM', delayed, due[i])
    redis.call('LPUSH', ready, due[i])
  end
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  if first[2] and (next_due < 0 or tonumber(first[2]) - ms < next_due) then
    next_due = math.max(0, tonumber(first[2]) - ms)
  end
  while wanted > 0 do
    local key = redis.call('LPOP', ready)
    if not key then
      break
    end
    local message = redis.call('HGET', KEYS[1], key)
    if message then
      local serial = redis.call('INCR', KEYS[3])
      local crashes = tonumber(redis.call('HGET', KEYS[2], key) or 0)
      redis.call('HSET', KEYS[5], key, serial .. ':' .. ARGV[q + 2])
      answer[#answer + 1] = {key, serial, crashes, ARGV[q + 2], message}
      wanted = wanted - 1
    else -- not put here by us
      redis.call('ZADD', dead, ms, key)
      redis.call('HSET', KEYS[6], key, '')
    end
  end
end
answer[1] = next_due
return answer
