-- Letters (port.py: Letters), for jobs.lua: `open_letters(...)` is given what it needs of that.

local load, current, asked_of, move, cancel, due, note, changed, try = ...
local boxes, opened, short = {}, {}, {}

local HEX = setmetatable({}, {__index = function(all, one)
  local two = string.format('%02x', byte(one))
  all[one] = two
  return two
end})

local function spelled(id)
  local hex = string.gsub(id, '.', HEX)
  return sub(hex, 1, 8) .. '-' .. sub(hex, 9, 12) .. '-' .. sub(hex, 13, 16) .. '-' .. sub(hex, 17, 20) .. '-' .. sub(hex, 21)
end

-- The 16 bytes of an id that is spelled out; nil for what is none.
local function bytes_of(text)
  local hex = type(text) == 'string' and #text == 36 and string.gsub(text, '-', '') or ''
  if not find(hex, '^%x+$') or #hex ~= 32 then return nil end
  return (string.gsub(hex, '%x%x', function(two) return char(tonumber(two, 16)) end))
end

-- Do something with each part of a job that is there (core/ids.py: derived): it has only this job to tell.
local function each_part(id, parts, what, ...)
  local parent = spelled(id)
  for number = 0, parts - 1 do
    local digits, place = sub(redis.sha1hex(parent .. '/' .. number), 1, 11), string.format('%04x', number % 65536)
    local part = bytes_of(sub(parent, 1, 15) .. sub(parent, 34) .. '-8' .. sub(place, 1, 3) .. '-' .. sub(place, 4) .. digits)
    local terms = asked_of(part)
    if terms and type(terms.to) == 'table' and #terms.to == 1 and terms.to[1] == parent then try(what, part, ...) end
  end
end

local function binary(data)
  if #data < 256 then return '\196' .. char(#data) .. data end
  if #data < 65536 then return '\197' .. struct.pack('>I2', #data) .. data end
  return '\198' .. struct.pack('>I4', #data) .. data
end

-- A job that letters are for, with what is written to it by this call; false when it takes none.
local function box_of(id)
  local box = boxes[id]
  if box ~= nil then return box end
  local job, terms = load(id), asked_of(id)
  if job and terms and job.state ~= SUCCEEDED then
    box = {
      job = job, mail = root .. 'mail:' .. id, collects = terms.collects, entries = {}, numbers = numbers_of(id) or {0, 0, 0},
      awaits = tonumber(call('HGET', root .. 'awaits', id) or terms.letters) or 0,
    }
    box.count = call('HLEN', box.mail)
    opened[#opened + 1] = box
  end
  boxes[id] = box or false
  return boxes[id]
end

-- Put a letter (as msgpack) into a box. The last one that is missing makes its job ready, unless its own time is still to come.
local function put(box, name, letter, now)
  local job, new = box.job, 1
  local number = box.numbers[1] + 1
  local place = string.format('%.0f', number)
  if call('HSETNX', box.mail, name, place) == 0 then
    if job.started_at and job.state < SUCCEEDED then return end
    local old = call('HGET', box.mail, name)
    call('HSET', box.mail, name, place)
    call('ZREMRANGEBYSCORE', root .. 'log:' .. job.id, old, old)
    for i = #box.entries - 1, 1, -2 do
      if box.entries[i] == old then table.remove(box.entries, i + 1) table.remove(box.entries, i) end
    end
    new = 0
  end
  local n = #box.entries
  box.numbers[1], box.count = number, box.count + new
  box.entries[n + 1], box.entries[n + 2] = place, place .. ':\148\166letter' .. binary(letter) .. double(now) .. '\0'
  if new == 0 or box.count ~= box.awaits or call('HEXISTS', root .. 'stands', job.id) == 1 then return end -- it waits at a gate
  if job.state == WAITING and job.run_at > now then
    move(job, SCHEDULED, now)
  elseif job.state == WAITING or job.state == SCHEDULED then
    due(job, 0, now)
  end
end

-- A letter that tells of a failure fails who waits for it.
local function fail(box, name, task, said, now)
  local job, has = box.job, said == 'cancelled' and 'was cancelled' or 'failed'
  if job.state ~= WAITING or job.started_at or box.count >= box.awaits then return end
  local message = 'it waited for the job ' .. name .. ' (' .. task .. '), which ' .. has
  job.error = '{"kind":"reason","type":"PartFailed","message":' .. cjson.encode(message) .. '}'
  move(job, FAILED, now)
  note(job, 'failed', now, 'PartFailed', message)
end

-- Write down what was put into a box.
local function close(box)
  if #box.entries == 0 then return end
  each('ZADD', root .. 'log:' .. box.job.id, box.entries)
  call('HSET', root .. 'journals', box.job.id, cmsgpack.pack(box.numbers))
  changed[#changed + 1] = box.job.id
end

-- Tell one job of the end of another.
local function tell_one(to, name, one, letter)
  local box = box_of(to)
  if box and (one.said == 'succeeded' or box.collects) then
    put(box, name, letter, one.at)
  elseif box then
    fail(box, name, one.task, one.said, one.at)
  end
end

-- Nobody waits for this part any more: it is cancelled, unless it was started.
local function call_off(id, now)
  local job = current(id)
  if not job or job.started_at or job.state >= SUCCEEDED then return end
  cancel(job, 'nobody waits for it any more', now)
  if boxes[id] then boxes[id].job = job end
end

local function tell_all(one)
  local name, data = spelled(one.id), one.said == 'succeeded' and one.data or binary(one.data)
  local letter = '\148' .. cmsgpack.pack(name, one.said, one.task) .. data
  for _, to in ipairs(one.to) do
    short[to] = short[to] or bytes_of(to) or ''
    try(tell_one, short[to], name, one, letter)
  end
end

-- Tell of all that has ended, and of what that ends in turn: then `ended` grows. After all letters, parts go that nobody waits for any more.
local function send(ended)
  local told, bereft = 0, 0
  while bereft < #ended do
    if told < #ended then
      told = told + 1
      tell_all(ended[told])
    else
      bereft = bereft + 1
      local one = ended[bereft]
      if one.parts > 0 then each_part(one.id, one.parts, call_off, one.at) end
    end
  end
  for _, box in ipairs(opened) do try(close, box) end
end

-- Put in one letter from outside; answers whether its job takes any.
local function deliver(id, name, letter, now)
  local box = box_of(id)
  if not box or box.job.state >= SUCCEEDED then return 0 end
  put(box, name, letter, now)
  close(box)
  return 1
end

return {send = send, deliver = deliver, each_part = each_part}
