-- Looks whether the parts of the belt agree, as they do unless Redis has thrown some of them away. If not, everything that
-- waits is dropped, and the sweep puts it back from the catalogue; what is held goes on. Accounts are drawn up anew.
--   KEYS  workers, the clock when it was last looked at, then what each of them holds
--   ARGV  the workers
--   returns how many messages were dropped, or -1 if there are other workers by now or lists of the former version
local workers, clock = KEYS[OWN], KEYS[OWN + 1]

-- A clock that was ahead was set back: what is delayed would wait until it is there again.
local ms, before = now(), tonumber(redis.call('GET', clock) or 0)
redis.call('DEL', clock) -- first, for a full Redis lets scripts go on that begin by giving memory back
redis.call('SET', clock, ms)
if before > ms + 1000 then
  for _, queue in ipairs(queues()) do
    local found = redis.call('ZRANGEBYSCORE', delayed_of(queue), before, '+inf', 'WITHSCORES')
    for i = 1, #found, 2 do
      redis.call('ZADD', delayed_of(queue), tonumber(found[i + 1]) - (before - ms), found[i])
    end
  end
end

if redis.call('ZCARD', workers) ~= #ARGV - 3 then
  return -1
end
for i = 4, #ARGV do
  if not redis.call('ZSCORE', workers, ARGV[i]) then
    return -1
  end
end

local held, known, charges = {}, 0, {}
for i = OWN + 2, #KEYS do
  local found = redis.call('HGETALL', KEYS[i])
  for j = 1, #found, 2 do
    local key, value = found[j], redis.call('HGET', MESSAGES, found[j])
    local _, _, _, _, charged = unpack_held(found[j + 1])
    if not value then -- it comes anew from the catalogue, unless its worker ends it there
      redis.call('HDEL', KEYS[i], key)
    elseif charged then
      charges[charged.session] = (charges[charged.session] or 0) + charged.charge
    end
    if value and not held[key] then
      held[key], known = value, known + 1
    end
  end
end

local waiting, standing, whole = 0, 0, true
for _, queue in ipairs(queues()) do
  if redis.call('LLEN', list_of(queue)) > 0 then
    return -1
  end
  waiting = waiting + redis.call('ZCARD', delayed_of(queue))
  for lane = 0, 1 do
    local members, turns = redis.call('ZCARD', waiting_of(queue, lane)), redis.call('ZCARD', turns_of(queue, lane))
    waiting, standing = waiting + members, standing + turns
    whole = whole and (members > 0) == (turns > 0)
  end
end
for _, marks in ipairs(redis.call('HVALS', STANDING)) do
  standing = standing - #marks
end

local flight, same = redis.call('HGETALL', FLIGHT), true
local sessions = #flight / 2
for i = 1, #flight, 2 do
  same = same and charges[flight[i]] == tonumber(flight[i + 1])
end
for _ in pairs(charges) do
  sessions = sessions - 1
end
if not same or sessions ~= 0 then
  redis.call('DEL', FLIGHT)
  for session, charge_of_all in pairs(charges) do
    redis.call('HSET', FLIGHT, session, charge_of_all)
  end
end

local messages = redis.call('HLEN', MESSAGES)
if whole and standing == 0 and messages == known + waiting then
  return 0
end
redis.call('UNLINK', MESSAGES, STANDING, PERISHABLE)
for _, queue in ipairs(queues()) do
  redis.call('UNLINK', delayed_of(queue))
  for lane = 0, 1 do
    redis.call('UNLINK', waiting_of(queue, lane), turns_of(queue, lane))
  end
end
for key, value in pairs(held) do
  redis.call('HSET', MESSAGES, key, value)
end
return math.max(waiting, messages - known)
