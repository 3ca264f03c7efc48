-- The index of all ids: sorted runs of up to 256 of them, 16 bytes each, one string a run. `ids` names the runs by their lower bounds.
-- A sorted set of the ids themselves would take seven times the memory. The newest wait unsorted in `ids:new` until there are enough for a run.
-- `local index = open_ids()`.

-- By bytes. Lua's own `<` goes by the server's locale.
local function less(a, b)
  for i = 1, 16 do
    local x, y = byte(a, i) or 0, byte(b, i) or 0
    if x ~= y then return x < y end
  end
  return false
end

local function key(bound) return root .. 'ids:' .. bound end

local function write(bound, ids)
  if ids == '' then
    call('DEL', key(bound))
    call('ZREM', root .. 'ids', bound)
    return
  end
  for from = 1, #ids, RUN do
    local run = sub(ids, from, from + RUN - 1)
    if from > 1 then bound = sub(run, 1, 16) end
    call('ZADD', root .. 'ids', 0, bound)
    call('SET', key(bound), run)
  end
end

local function merged(a, b)
  local out, i, j = {}, 1, 1
  while i <= #a and j <= #b do
    local x, y = sub(a, i, i + 15), sub(b, j, j + 15)
    if less(x, y) then
      out[#out + 1], i = x, i + 16
    else
      out[#out + 1], j = y, j + 16
    end
  end
  return table.concat(out) .. sub(a, i) .. sub(b, j)
end

local function bound_of(id) return call('ZREVRANGEBYLEX', root .. 'ids', '[' .. id, '-', 'LIMIT', 0, 1)[1] end

-- Put ids where they belong: all that fall into one run at a time.
local function insert(ids)
  local at = 1
  while at < #ids do
    local first = sub(ids, at, at + 15)
    local bound = bound_of(first) or first
    local after = call('ZRANGEBYLEX', root .. 'ids', '(' .. bound, '+', 'LIMIT', 0, 1)[1]
    local to = at + 16
    while to < #ids and (not after or less(sub(ids, to, to + 15), after)) do to = to + 16 end
    write(bound, merged(call('GET', key(bound)) or '', sub(ids, at, to - 1)))
    at = to
  end
end

-- Sort what is new, which mostly is sorted already, into the runs.
local function sort_new()
  local new, ids, sorted = call('GET', root .. 'ids:new'), {}, true
  if not new then return end
  for at = 1, #new, 16 do
    local n = #ids + 1
    ids[n] = sub(new, at, at + 15)
    sorted = sorted and (n == 1 or less(ids[n - 1], ids[n]))
  end
  if not sorted then table.sort(ids, less) end
  call('DEL', root .. 'ids:new')
  new = table.concat(ids)
  local last = call('ZREVRANGE', root .. 'ids', 0, 0)[1]
  if not last then return write(ids[1], new) end
  if less(call('GETRANGE', key(last), -16, -1), ids[1]) then return write(last, (call('GET', key(last)) or '') .. new) end
  insert(new)
end

local function remove(ids)
  sort_new()
  local runs = {}
  for _, id in ipairs(ids) do
    local bound = bound_of(id)
    if bound then
      runs[bound] = runs[bound] or {}
      runs[bound][id] = true
    end
  end
  for bound, gone in pairs(runs) do
    local run, left = call('GET', key(bound)) or '', {}
    for at = 1, #run, 16 do
      local id = sub(run, at, at + 15)
      if not gone[id] then left[#left + 1] = id end
    end
    write(bound, table.concat(left))
  end
end

-- At most `many` ids before `limit` ('' for none), the newest first.
local function page(limit, many)
  sort_new()
  local out, upper = {}, limit == '' and '+' or '(' .. limit
  while #out < many do
    local bound = call('ZREVRANGEBYLEX', root .. 'ids', upper, '-', 'LIMIT', 0, 1)[1]
    if not bound then break end
    local run = call('GET', key(bound)) or ''
    for at = #run - 15, 1, -16 do
      local id = sub(run, at, at + 15)
      if #out < many and (limit == '' or less(id, limit)) then out[#out + 1] = id end
    end
    upper = '(' .. bound
  end
  return out
end

return {sort_new = sort_new, remove = remove, page = page}
