-- Adds a directive to a worker's stream. Whatever stands in its place and cannot take it is replaced.
-- KEYS: the stream   ARGV: directive, most directives, milliseconds to live
local id = redis.pcall('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'c', ARGV[1])
if type(id) == 'table' and id.err then
    if not (string.find(id.err, 'WRONGTYPE', 1, true) or string.find(id.err, 'exhausted', 1, true)) then
        return redis.error_reply(id.err)
    end
    redis.call('UNLINK', KEYS[1])
    redis.call('XADD', KEYS[1], '*', 'c', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
