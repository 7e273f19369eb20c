-- Tells the belt what is paused, all of it; what changes for a session moves its turns.
--   ARGV  how often it was told before what its caller read ('' if never), then for each pause: kind:name, since (ms)
--   returns 1, or 0 if it was told in between: then its caller may know less than the belt, and reads anew
local before = redis.call('HGET', PAUSED, 'told')
if (before or '') ~= ARGV[4] then
  return 0
end
local given, number = {}, 0
for i = 5, #ARGV, 2 do
  given[ARGV[i]], number = ARGV[i + 1], number + 1
end
local same = before and redis.call('HLEN', PAUSED) == number + 1
for name, since in pairs(given) do
  same = same and redis.call('HGET', PAUSED, name) == since
end
if same then
  return 1
end
redis.call('DEL', PAUSED) -- first, for a full Redis lets scripts go on that begin by giving memory back
redis.call('HSET', PAUSED, 'told', string.format('%.0f', (tonumber(before) or 0) + 1))
for name, since in pairs(given) do
  redis.call('HSET', PAUSED, name, since)
end

for _, queue in ipairs(queues()) do
  for lane = 0, 1 do
    local turns = turns_of(queue, lane)
    local found = redis.call('ZRANGEBYSCORE', turns, string.format('%.0f', ASIDE), '+inf', 'WITHSCORES')
    for i = 1, #found, 2 do
      if not given['session:' .. found[i]] then
        redis.call('ZADD', turns, tonumber(found[i + 1]) - ASIDE, found[i])
      end
    end
  end
end
for name in pairs(given) do
  local session = string.match(name, '^session:(.*)$')
  for mark in string.gmatch(session and redis.call('HGET', STANDING, session) or '', '.') do
    local turns = turns_of(lane_of(mark))
    local turn = tonumber(redis.call('ZSCORE', turns, session) or ASIDE)
    if turn < ASIDE then
      redis.call('ZADD', turns, turn + ASIDE, session)
    end
  end
end
redis.call('PUBLISH', ARGV[2], 'paused')
return 1
