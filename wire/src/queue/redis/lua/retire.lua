-- Releases the claimed entries of a job: of one attempt, or of all when the job is over, with its input.
-- KEYS: claims[, input]   ARGV: group[, attempt]
local places
if ARGV[2] then
    places = { ARGV[2], redis.call('HGET', KEYS[1], ARGV[2]) }
    redis.call('HDEL', KEYS[1], ARGV[2])
else
    places = redis.call('HGETALL', KEYS[1])
    redis.call('DEL', KEYS[1], KEYS[2])
end
for i = 2, #places, 2 do
    if places[i] then
        local stream, id = string.match(places[i], '^(.*) (.*)$')
        redis.pcall('XACK', stream, ARGV[1], id)
    end
end
return 0
