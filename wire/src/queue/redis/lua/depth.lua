-- KEYS: streams of a circuit   ARGV: group. Answers {waiting, claimed}.
local waiting, claimed = 0, 0
for _, key in ipairs(KEYS) do
    local groups = redis.pcall('XINFO', 'GROUPS', key)
    if not groups.err then
        for _, fields in ipairs(groups) do
            local group = {}
            for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
            if group.name == ARGV[1] then
                claimed = claimed + group.pending
                -- Nil after somebody deleted an entry: then they are counted.
                waiting = waiting + (group.lag or #redis.call('XRANGE', key, '(' .. group['last-delivered-id'], '+'))
            end
        end
    end
end
return { waiting, claimed }
