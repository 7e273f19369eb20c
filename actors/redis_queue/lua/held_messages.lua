-- What a worker holds, for a worker that lost the answer to a fetch.
--   KEYS  held by this worker
--   returns {{key, delivery id, crashes, queue, message, size class, priority, session,
--            1 if of the history}, …}
local answer = {}
local held = redis.call('HGETALL', KEYS[OWN])
for i = 1, #held, 2 do
  local delivery_id, queue, _, priority = unpack_held(held[i + 1])
  local value = redis.call('HGET', MESSAGES, held[i])
  if value and delivery_id then
    local info, message = split(value)
    local crashes = tonumber(redis.call('HGET', CRASHES, held[i]) or 0)
    answer[#answer + 1] = {
      held[i], tonumber(delivery_id), crashes, queue, message, info.size_class, priority, info.session,
      info.expires == HISTORY and 1 or 0
    }
  end
end
return answer
