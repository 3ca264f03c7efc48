-- What happened, into the spans of a time and into the faults: `open_history()(now, rollups, sightings)`, all as in measures.py, where
-- SERIES, FAULTS, VERSIONS and STEPS come from, too.

-- What is stored of a combination, with one rollup more: a count, and how many times are in each bucket of wait and of run, up to the last
-- that is not empty.
local function sum(stored, rollup)
  local _, found = pcall(cmsgpack.unpack, stored)
  local total = {found[1] + rollup[4], {}, {}}
  for part = 2, 3 do
    local counts, more = found[part], rollup[part + 3]
    local last = #counts
    for n in pairs(more) do last = math.max(last, n + 1) end
    for n = 1, last do total[part][n] = (counts[n] or 0) + (more[n - 1] or 0) end
  end
  return cmsgpack.pack(total)
end

local nothing = cmsgpack.pack({0, {}, {}})

-- A fault (measures.py: Fault) after a sighting of it.
local function seen(fault, one, now)
  for part, value in ipairs({one[1], one[2], one[3], one[4], fault[5] + one[5], fault[6] + one[6], one[7], one[8]}) do fault[part] = value end
  fault[10] = now
  local latest = {}
  for _, version in ipairs(fault[11]) do
    if version ~= one[9] then latest[#latest + 1] = version end
  end
  if one[9] ~= '' then latest[#latest + 1] = one[9] end
  while #latest > VERSIONS do table.remove(latest, 1) end
  fault[11] = latest
  if fault[12] ~= 'snoozed' or now >= fault[13] then fault[12], fault[13] = 'open', 0 end
  return cmsgpack.pack(fault)
end

return function(now, rollups, sightings)
  -- All is read before anything is written: a key of another type ends this while nothing has happened.
  call('ZCARD', root .. 'sighted')
  for _, step in ipairs(STEPS) do call('ZCARD', root .. 'spans:' .. step) end

  local spans = {}
  for _, step in ipairs(STEPS) do
    local at = string.format('%.0f', floor(now / step) * step)
    local key = root .. 'span:' .. step .. ':' .. at
    local many, fields = call('HLEN', key), {}
    for _, rollup in ipairs(rollups) do
      local field = rollup[1] .. '\0' .. rollup[2] .. '\0' .. rollup[3]
      local stored = fields[field] or call('HGET', key, field)
      if not stored and many >= SERIES then
        field = rollup[1] .. '\0\0' .. rollup[3]
        stored = fields[field] or call('HGET', key, field)
      end
      if not stored then many = many + 1 end
      local ok, total = pcall(sum, stored or nothing, rollup)
      fields[field] = ok and total or sum(nothing, rollup)
    end
    if #rollups > 0 then spans[#spans + 1] = {step, at, key, fields} end
  end

  local sighted = {}
  for _, one in ipairs(sightings) do
    local stored, packed, ok = sighted[one[1]] or call('HGET', root .. 'faults', one[1]), nil, false
    if stored then
      ok, packed = pcall(function() return seen(cmsgpack.unpack(stored), one, now) end)
    end
    sighted[one[1]] = ok and packed or seen({'', '', '', '', 0, 0, '', '', now, now, {}, 'open', 0}, one, now)
  end

  for _, span in ipairs(spans) do
    for field, total in pairs(span[4]) do call('HSET', span[3], field, total) end
    call('ZADD', root .. 'spans:' .. span[1], span[2], span[2])
  end
  for fingerprint, fault in pairs(sighted) do
    call('HSET', root .. 'faults', fingerprint, fault)
    call('ZADD', root .. 'sighted', string.format('%.17g', now), fingerprint)
  end
  local over = call('ZCARD', root .. 'sighted') - FAULTS
  if over > 0 then
    for i, gone in ipairs(call('ZPOPMIN', root .. 'sighted', over)) do
      if i % 2 == 1 then call('HDEL', root .. 'faults', gone) end
    end
  end
end
