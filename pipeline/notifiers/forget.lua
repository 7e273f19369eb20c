-- Takes events out of the history, and tells whoever has read them already to forget them, too.
--
-- KEYS: the history (stream), what stands in it (hash: event id -> place in the stream)
-- ARGV: event ids
-- The word to the readers is an entry like any other and comes first, so that no reader misses what was the last one.
local places = {}
for _, id in ipairs(ARGV) do
    local place = redis.call('HGET', KEYS[2], id)
    if place then
        places[#places + 1] = place
    end
end
if #places == 0 then
    return 0
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
redis.call('XADD', KEYS[1], '*', 'id', '', 'before', last and last[1] or '', 'forget', table.concat(ARGV, ','))
redis.call('HDEL', KEYS[2], unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(places))
