-- What a worker holds, for one that lost the answer to a fetch.
--   KEYS  messages, crashes, held by this worker
--   returns {{key, serial, crashes, queue, message}, …}
local answer = {}
local held = redis.call('HGETALL', KEYS[3])
for i = 1, #held, 2 do
  local serial, queue = string.match(held[i + 1], '^(%d+):([^:]*)')
  local message = redis.call('HGET', KEYS[1], held[i])
  if message then
    local crashes = tonumber(redis.call('HGET', KEYS[2], held[i]) or 0)
    answer[#answer + 1] = {held[i], tonumber(serial), crashes, queue, message}
  end
end
return answer
