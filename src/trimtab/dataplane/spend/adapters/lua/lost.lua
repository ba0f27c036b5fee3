-- ARGV: prefix, now. Takes up to 64 rows of leases that were lost: id, nano-dollars, books, each on a line.
sweep(ARGV[1], tonumber(ARGV[2]))
return redis.call("LPOP", ARGV[1] .. "lost", 64) or {}
