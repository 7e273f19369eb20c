-- What a worker holds, for one that lost the answer to a fetch.
--   KEYS  held by this worker
--   returns {{key, serial, crashes, queue, message, lane, turn, session}, …}
local answer = {}
local held = redis.call('HGETALL', KEYS[OWN])
for i = 1, #held, 2 do
  local serial, queue, _, turn = unpack_held(held[i + 1])
  local value = redis.call('HGET', MESSAGES, held[i])
  if value and serial then
    local place, message = split(value)
    local crashes = tonumber(redis.call('HGET', CRASHES, held[i]) or 0)
    answer[#answer + 1] = {held[i], tonumber(serial), crashes, queue, message, place.lane, turn, place.session}
  end
end
return answer
