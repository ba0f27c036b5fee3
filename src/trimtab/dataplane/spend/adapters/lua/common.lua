-- Shared by all scripts. Amounts come ready from the gateway: whole nano-dollars, whole microseconds, below 2^53.
-- Everything of a tenant carries its hash tag, so a script stays on one node.

local function plain(number)
  return string.format("%.0f", number + 0) -- never "-0", which is no integer to HINCRBY
end

local function fields(lease)
  local found = redis.call("HMGET", lease, "granted", "books", "ended", "to")
  return tonumber(found[1] or "0"), found[2], found[3], found[4]
end

local function each(books, fn)
  for book in string.gmatch(books or "", "[^\n]+") do
    fn(book)
  end
end

-- Leases whose holder did not end them in time: what they were granted counts as spent.
local function sweep(prefix, now)
  local due = redis.call("ZRANGEBYSCORE", prefix .. "due", "-inf", plain(now), "LIMIT", 0, 16)
  for _, id in ipairs(due) do
    local lease = prefix .. "lease:" .. id
    local granted, books, ended = fields(lease)
    redis.call("ZREM", prefix .. "due", id)
    if books and not ended then
      each(books, function(book)
        redis.call("HINCRBY", book, "settled", plain(granted))
        redis.call("HINCRBY", book, "reserved", plain(-granted))
      end)
      redis.call("HSET", lease, "ended", "lost")
      redis.call("PEXPIRE", lease, 86400000)
      redis.call("RPUSH", prefix .. "lost", id .. "\n" .. plain(granted) .. "\n" .. books)
    end
  end
end

local function level(book)
  local found = redis.call("HMGET", book, "settled", "reserved")
  return tonumber(found[1] or "0"), tonumber(found[2] or "0")
end
