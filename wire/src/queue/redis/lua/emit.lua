-- Writes an event, and releases the entry of the attempt that ends with it.
-- KEYS: epoch, events, alive[, claims]   ARGV: event, limit, milliseconds to be alive, group[, attempt]
-- Answers the epoch, or 'full'.
redis.call('SET', KEYS[3], '1', 'PX', ARGV[3])
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[2]) then return 'full' end
redis.call('XADD', KEYS[2], '*', 'e', ARGV[1])
if KEYS[4] then
    local place = redis.call('HGET', KEYS[4], ARGV[5])
    if place then
        local stream, id = string.match(place, '^(.*) (.*)$')
        redis.call('XACK', stream, ARGV[4], id)
        redis.call('HDEL', KEYS[4], ARGV[5])
    end
end
return redis.call('GET', KEYS[1]) or ''
