-- Checks that the parts of the queue agree, as they do unless Redis has evicted some of them. If they do not, all
-- waiting and delayed messages are dropped, and the requeue scan enqueues them again from the catalogue; held messages
-- stay.
-- What the sessions have in flight is counted anew.
--   KEYS  workers, the time of the last audit, then held by each worker
--   ARGV  the workers
--   returns how many messages were dropped, or -1 if the set of workers has changed since the caller read it
local workers, clock = KEYS[OWN], KEYS[OWN + 1]

-- After the clock was set back, delayed messages would wait until it reaches the old time again.
local ms, before = now(), tonumber(redis.call('GET', clock) or 0)
redis.call('DEL', clock) -- first: a full Redis refuses a script whose first write needs memory
redis.call('SET', clock, ms)
if before > ms + 1000 then
  for _, queue in ipairs(queues()) do
    local rows = redis.call('ZRANGEBYSCORE', delayed_of(queue), before, '+inf', 'WITHSCORES')
    for i = 1, #rows, 2 do
      redis.call('ZADD', delayed_of(queue), tonumber(rows[i + 1]) - (before - ms), rows[i])
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

local held, held_count, charges = {}, 0, {}
for i = OWN + 2, #KEYS do
  local rows = redis.call('HGETALL', KEYS[i])
  for j = 1, #rows, 2 do
    local key, value = rows[j], redis.call('HGET', MESSAGES, rows[j])
    local _, queue, _, _, info = unpack_held(rows[j + 1])
    if not value then -- the requeue scan enqueues it again, unless its worker finishes it in the catalogue
      redis.call('HDEL', KEYS[i], key)
    elseif info then
      charges[info.session] = (charges[info.session] or 0) + charge_of(queue, info)
    end
    if value and not held[key] then
      held[key], held_count = value, held_count + 1
    end
  end
end

local waiting, marks_left, consistent = 0, 0, true
for _, queue in ipairs(queues()) do
  waiting = waiting + redis.call('ZCARD', delayed_of(queue))
  for size_class = 0, 1 do
    local members = redis.call('ZCARD', waiting_of(queue, size_class))
    local turns = redis.call('ZCARD', turns_of(queue, size_class))
    waiting, marks_left = waiting + members, marks_left + turns
    consistent = consistent and (members > 0) == (turns > 0)
  end
end
for _, marks in ipairs(redis.call('HVALS', SESSION_MARKS)) do
  marks_left = marks_left - #marks
end

local in_flight, same = redis.call('HGETALL', IN_FLIGHT), true
local sessions = #in_flight / 2
for i = 1, #in_flight, 2 do
  same = same and charges[in_flight[i]] == tonumber(in_flight[i + 1])
end
for _ in pairs(charges) do
  sessions = sessions - 1
end
if not same or sessions ~= 0 then
  redis.call('DEL', IN_FLIGHT)
  for session, charge in pairs(charges) do
    redis.call('HSET', IN_FLIGHT, session, string.format('%.0f', charge))
  end
end

local messages = redis.call('HLEN', MESSAGES)
if consistent and marks_left == 0 and messages == held_count + waiting then
  return 0
end
redis.call('UNLINK', MESSAGES, SESSION_MARKS, EXPIRING)
for _, queue in ipairs(queues()) do
  redis.call('UNLINK', delayed_of(queue))
  for size_class = 0, 1 do
    redis.call('UNLINK', waiting_of(queue, size_class), turns_of(queue, size_class))
  end
end
for key, value in pairs(held) do
  redis.call('HSET', MESSAGES, key, value)
end
return math.max(waiting, messages - held_count)
