-- Takes places within the current window of several counters: of all of them, or of none.
-- What is more than the limit is given while anything is left, or beside others it would never be.
--   KEYS  counters
--   ARGV  limit, window in ms, then for each counter: how many are needed, how many would be taken gladly
--   returns {0, and for each counter: how many were taken, ms until its window ends}, or {ms to wait}
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local taken, wait = {}, 0
for i, key in ipairs(KEYS) do
  taken[i] = tonumber(redis.call('GET', key) or '0')
  local needed = tonumber(ARGV[2 * i + 1])
  if taken[i] + needed > limit and not (needed > limit and taken[i] < limit) then
    wait = math.max(wait, redis.call('PTTL', key), 1)
  end
end
if wait > 0 then
  return {wait}
end
local answer = {0}
for i, key in ipairs(KEYS) do
  local needed, gladly = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local grant = math.max(needed, math.min(gladly, limit - taken[i]))
  if taken[i] == 0 then
    redis.call('SET', key, grant, 'PX', window)
  else
    redis.call('INCRBY', key, grant)
  end
  answer[#answer + 1] = grant
  answer[#answer + 1] = redis.call('PTTL', key)
end
return answer
