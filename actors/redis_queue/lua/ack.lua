-- Acknowledges deliveries. For each: the acknowledgement, what follows and the entry in the finished jobs, all or
-- nothing. A delivery that is not held any more is left out, so the call may be repeated when its answer was lost.
--   KEYS  held by this worker, then for each list of finished jobs: index, entries
--   ARGV  how many lists; for each: ms for which its entries live, its length (-1: unlimited), their maximum age in ms
--         (-1: unlimited); for each delivery: key, delivery id, verdict, message, delay in ms, queue of the message,
--         the number of its list (0 for none), its entry
--   verdict  next: enqueue the message · later: enqueue it after the delay · back: unchanged, to the front of its session
--            done: remove it · dead: remove it and keep the message as a dead letter
--   returns for each delivery 1, or 0 if it was not held
local held, lists, FIELDS = KEYS[OWN], tonumber(ARGV[4]), 8
local first = 5 + 3 * lists
local keys = {}
for i = first, #ARGV, FIELDS do
  keys[#keys + 1] = ARGV[i]
end

-- `starts` has where the fields of each held delivery begin in ARGV, each once; `released` what each session gives
-- back.
local starts, acknowledged, info_of, released, answer = {}, {}, {}, {}, {}
local values = redis.call('HMGET', held, unpack(keys))
for number = 1, #keys do
  local i, key = first + (number - 1) * FIELDS, keys[number]
  local delivery_id, queue, _, _, info = unpack_held(values[number] or '')
  answer[number] = 0
  if delivery_id == ARGV[i + 1] and not acknowledged[key] then
    answer[number], acknowledged[key], acknowledged[#acknowledged + 1], starts[#starts + 1] = 1, true, key, i
    info_of[i] = info
    released[info.session] = (released[info.session] or 0) + charge_of(queue, info)
  end
end
if #starts == 0 then
  return answer
end
-- First: a full Redis refuses a script whose first write needs memory, and checks only once.
redis.call('HDEL', held, unpack(acknowledged))
local ms = now()
for session, amount in pairs(released) do
  add_in_flight(session, -amount)
end

local function remove_entries(index, entries, ids)
  for i = 1, #ids, 500 do
    local chunk = {unpack(ids, i, math.min(i + 499, #ids))}
    redis.call('ZREM', index, unpack(chunk))
    redis.call('HDEL', entries, unpack(chunk))
  end
end

local function add_finished(list, scores, entries)
  local index, entries_key = KEYS[OWN + 2 * list - 1], KEYS[OWN + 2 * list]
  local ttl, length, age = tonumber(ARGV[2 + 3 * list]), tonumber(ARGV[3 + 3 * list]), tonumber(ARGV[4 + 3 * list])
  redis.call('ZADD', index, unpack(scores))
  redis.call('HSET', entries_key, unpack(entries))
  if age < 0 or age > ttl then
    age = ttl
  end
  remove_entries(index, entries_key, redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. (ms - age)))
  if length >= 0 then
    remove_entries(index, entries_key, redis.call('ZRANGE', index, 0, -length - 1))
  end
  redis.call('PEXPIRE', index, ttl)
  redis.call('PEXPIRE', entries_key, ttl)
end

local function keep_dead_letter(key, message, queue)
  local dead = dead_of(queue)
  add_dead_letter(queue, key, message, ms)
  remove_entries(dead, DEAD_MESSAGES, redis.call('ZRANGEBYSCORE', dead, '-inf', '(' .. (ms - 7 * 86400 * 1000)))
  remove_entries(dead, DEAD_MESSAGES, redis.call('ZRANGE', dead, 0, -10001))
end

local function enqueue_again(i, key, verdict, queue)
  local info = info_of[i]
  if verdict == 'back' then
    push(queue, key, info, ms, true)
    return
  end
  redis.call('HSET', MESSAGES, key, join(info, ARGV[i + 3]))
  if verdict == 'next' then
    push(queue, key, info, ms)
  else
    redis.call('ZADD', delayed_of(queue), ms + tonumber(ARGV[i + 4]), key)
    redis.call('PUBLISH', ARGV[2], queue) -- wakes workers that would sleep longer: this one may be busy when it is due
  end
end

local removed, without_crashes, scores, entries = {}, {}, {}, {}
local stamp = string.format('%.0f', ms)
for number = 1, #starts do
  local i, key = starts[number], acknowledged[number]
  local verdict, queue, list = ARGV[i + 2], ARGV[i + 5], tonumber(ARGV[i + 6])
  if verdict == 'done' or verdict == 'dead' then
    removed[#removed + 1] = key
  else
    enqueue_again(i, key, verdict, queue)
  end
  if verdict == 'dead' then
    keep_dead_letter(key, ARGV[i + 3], queue)
  end
  if verdict ~= 'later' and verdict ~= 'back' then -- another attempt is the same work, and may still crash its worker
    without_crashes[#without_crashes + 1] = key
  end
  if list > 0 then
    local list_scores, list_entries = scores[list] or {}, entries[list] or {}
    scores[list], entries[list] = list_scores, list_entries
    list_scores[#list_scores + 1], list_scores[#list_scores + 2] = stamp, key
    list_entries[#list_entries + 1], list_entries[#list_entries + 2] = key, ARGV[i + 7]
  end
end
if #without_crashes > 0 then
  redis.call('HDEL', CRASHES, unpack(without_crashes))
end
if #removed > 0 then
  redis.call('HDEL', MESSAGES, unpack(removed))
end
for list, list_scores in pairs(scores) do
  add_finished(list, list_scores, entries[list])
end
return answer
