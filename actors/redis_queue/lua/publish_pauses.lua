-- Replaces the set of pauses, and moves the turns of sessions that are newly paused or resumed.
--   ARGV  the version that the caller read before it read the pauses ('' if none was published), then for each pause:
--         kind:name, since (ms)
--   returns 1, or 0 if the version has changed: the caller's pauses may be outdated, and it reads them again
local before = redis.call('HGET', PAUSED, 'told')
if (before or '') ~= ARGV[4] then
  return 0
end
local paused, number = {}, 0
for i = 5, #ARGV, 2 do
  paused[ARGV[i]], number = ARGV[i + 1], number + 1
end
local same = before and redis.call('HLEN', PAUSED) == number + 1
for name, since in pairs(paused) do
  same = same and redis.call('HGET', PAUSED, name) == since
end
if same then
  return 1
end
redis.call('DEL', PAUSED) -- first: a full Redis refuses a script whose first write needs memory
redis.call('HSET', PAUSED, 'told', string.format('%.0f', (tonumber(before) or 0) + 1))
for name, since in pairs(paused) do
  redis.call('HSET', PAUSED, name, since)
end

for _, queue in ipairs(queues()) do
  for size_class = 0, 1 do
    local turns = turns_of(queue, size_class)
    local rows = redis.call('ZRANGEBYSCORE', turns, string.format('%.0f', PAUSED_OFFSET), '+inf', 'WITHSCORES')
    for i = 1, #rows, 2 do
      if not paused['session:' .. rows[i]] then
        redis.call('ZADD', turns, tonumber(rows[i + 1]) - PAUSED_OFFSET, rows[i])
      end
    end
  end
end
for name in pairs(paused) do
  local session = string.match(name, '^session:(.*)$')
  for mark in string.gmatch(session and redis.call('HGET', SESSION_MARKS, session) or '', '.') do
    local turns = turns_of(split_mark(mark))
    local turn = tonumber(redis.call('ZSCORE', turns, session) or PAUSED_OFFSET)
    if turn < PAUSED_OFFSET then
      redis.call('ZADD', turns, turn + PAUSED_OFFSET, session)
    end
  end
end
redis.call('PUBLISH', ARGV[2], 'paused')
return 1
