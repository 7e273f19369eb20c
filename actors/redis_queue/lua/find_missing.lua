-- Which keys are not in the queue.
--   KEYS  messages
--   ARGV  keys
local missing = {}
for _, key in ipairs(ARGV) do
  if redis.call('HEXISTS', KEYS[1], key) == 0 then
    missing[#missing + 1] = key
  end
end
return missing
