-- KEYS: mailbox   ARGV: control, limit, milliseconds to live. Answers 1 when the mailbox is full.
if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 1 end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
