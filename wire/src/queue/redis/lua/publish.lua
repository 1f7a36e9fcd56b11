-- The input first, then the entry: in one step, so that no entry is ever without its input.
-- KEYS: epoch, input, stream, wake   ARGV: input, entry, name, excluded, limit, group, most wake-ups
-- Answers 0 when it is done, 1 when the stream is full, 2 when there is no deployment.
if redis.call('EXISTS', KEYS[1]) == 0 then return 2 end
if redis.call('XLEN', KEYS[3]) >= tonumber(ARGV[5]) then
    local info = redis.call('XINFO', 'GROUPS', KEYS[3])
    local delivered = '0-0'
    for _, group in ipairs(info) do
        for i = 1, #group, 2 do
            if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
        end
    end
    local waiting = redis.call('XRANGE', KEYS[3], '(' .. delivered, '+', 'COUNT', ARGV[5])
    if #waiting >= tonumber(ARGV[5]) then return 1 end
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[3], '*', 'e', ARGV[2], 'n', ARGV[3], 'x', ARGV[4])
if redis.call('LLEN', KEYS[4]) < tonumber(ARGV[7]) then redis.call('RPUSH', KEYS[4], '1') end
return 0
