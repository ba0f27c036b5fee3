-- GCRA. KEYS: rates. ARGV: prefix, now, force (1: whatever it comes to), then cost and whole bucket (us) of each. Gives
-- 1 or 0, then how much of each bucket is taken: after the charge, or as it is where one has no room.
local now, ok = tonumber(ARGV[2]), true
local force = ARGV[3] == "1"
local tats = {}
for at, rate in ipairs(KEYS) do
  tats[at] = math.max(tonumber(redis.call("GET", rate) or "0"), now)
  ok = ok and (force or tats[at] + tonumber(ARGV[2 + 2 * at]) - now <= tonumber(ARGV[3 + 2 * at]))
end
local told = { ok and "1" or "0" }
for at, rate in ipairs(KEYS) do
  if ok then
    tats[at] = tats[at] + tonumber(ARGV[2 + 2 * at])
    if tats[at] > now then
      redis.call("SET", rate, plain(tats[at]), "PX", plain((tats[at] - now) / 1000 + 1000))
    else
      redis.call("DEL", rate)
    end
  end
  told[1 + at] = plain(tats[at] - now)
end
return told
