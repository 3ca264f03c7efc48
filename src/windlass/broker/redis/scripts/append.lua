#!lua flags=allow-oom
-- Write into journals. ARGV, for each claim: id, fence, number of entries, and as often: "p" (progress), "c" (checkpoint) or "-", the number
-- that its run gave it, entry. Answers 1 for each claim whose token is the live one, 0 for the others.

local at, taken, written = 1, {}, {}
while at < #ARGV do
  local id, fence, many = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local stand = call('HGET', root .. 'states', id)
  local live = stand and sub(stand, 2, 11) == fence
  taken[#taken + 1] = live and 1 or 0
  if live and many > 0 then
    local numbers, log = numbers_of(id) or {0, 0, 0}, root .. 'log:' .. id
    local first, latest = numbers[1], {p = numbers[2], c = numbers[3]}
    local last, noted = first, numbers[4] == fence and numbers[5] or 0
    for i = at + 3, at + many * 3, 3 do
      local kind, number = ARGV[i], tonumber(ARGV[i + 1])
      if number == 0 or number > noted then -- else it is a repeat
        last, noted = last + 1, math.max(noted, number)
        if latest[kind] then
          if latest[kind] > 0 then call('ZREMRANGEBYSCORE', log, latest[kind], latest[kind]) end
          latest[kind] = last
        end
        call('ZADD', log, last, last .. ':' .. ARGV[i + 2])
      end
    end
    if last > first then
      call('HSET', root .. 'journals', id, cmsgpack.pack({last, latest.p, latest.c, fence, noted}))
      written[#written + 1] = id
    end
  end
  at = at + 3 + many * 3
end
tell('watched', written)
tell('awaited', written)
return taken
