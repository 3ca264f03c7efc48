-- Limits: the arithmetic of gates.py once more, and who stands where. `open_gates(load, asked_of)`, of jobs.lua.
-- A gate is read once and written once, by `save`.

local load, asked_of = ...
local SLACK, GRAIN, BETWEEN, NEVER = 1e-6, 1024, '\31', math.huge
local gates, stored, heads, standers, touched, met = {}, {}, {}, {}, {}, {}
local fresh = {} -- by gate, who came to stand there in this script, the first one last: written by `save`, if they still stand then

local function text(id)
  local hex = string.gsub(id, '.', function(one) return string.format('%02x', byte(one)) end)
  return table.concat({sub(hex, 1, 8), sub(hex, 9, 12), sub(hex, 13, 16), sub(hex, 17, 20), sub(hex, 21)}, '-')
end

local function read_uses(terms)
  local found, names, first = {}, {}, nil
  local function add(use)
    local name = use.limit .. BETWEEN .. (use.key or '')
    if names[name] then return end
    local units = math.max(0, floor((use.units or 1) * GRAIN + 0.5)) / GRAIN
    local rate, burst = use.rate or NEVER, (use.burst or 1) + 0
    names[name] = true
    found[#found + 1] = {
      name = name, limit = use.limit, units = units, running = (use.running or NEVER) + 0, rate = rate + 0, burst = burst, ordered = use == first,
    }
  end
  for _, use in ipairs(terms.uses) do first = first or use.ordered and use or nil end
  if first then add(first) end
  for _, use in ipairs(terms.uses) do add(use) end
  return found
end

-- What a job takes of limits; nil for nothing.
local function uses_of(terms)
  if not terms or type(terms.uses) ~= 'table' or #terms.uses == 0 then return nil end
  local ok, uses = pcall(read_uses, terms)
  return ok and uses or nil
end

-- The same, of terms as they are stored.
local function uses_in(terms)
  if not terms or not find(terms, 'uses', 1, true) then return nil end
  local ok, found = pcall(cmsgpack.unpack, terms)
  return ok and type(found) == 'table' and uses_of(found) or nil
end

local function use_at(job, name)
  for _, use in ipairs(job.uses) do if use.name == name then return use end end
  return {name = name, units = 0, running = NEVER, rate = NEVER, burst = 1}
end

-- --- one gate

local function refill(gate, now)
  if gate.rate < NEVER then gate.level = math.min(gate.burst, gate.level + math.max(0, now - gate.at) * gate.rate) end
  gate.at = now
end

local function has_room(gate, use) return gate.held + math.min(use.units, gate.running) <= gate.running end

local function has_turn(gate, use, job) return not (use.ordered and gate.turn and gate.turn ~= text(job.id)) end

local function admits(gate, use, job, now)
  if now < gate.closed or not has_turn(gate, use, job) or not has_room(gate, use) then return false end
  return use.rate == NEVER or gate.rate == NEVER or gate.level - gate.reserved + SLACK >= math.min(use.units, gate.burst)
end

local function opens(gate)
  if not gate.wants then return nil end
  local missing = gate.wants - (gate.level - gate.reserved)
  if gate.rate == NEVER or missing <= SLACK then return math.max(gate.at, gate.closed) end
  if gate.wants > gate.burst - gate.reserved then return nil end
  return math.max(gate.closed, gate.at + missing / gate.rate)
end

local function idle(gate)
  if gate.held > 0 or gate.waiting > 0 or gate.turn then return nil end
  local full = gate.rate == NEVER and gate.at or gate.at + math.max(0, gate.burst - gate.level) / gate.rate
  return math.max(gate.closed, full)
end

local function is_idle(gate, now)
  local from = idle(gate)
  return from and from <= now
end

-- --- all of them

local function read(name, data)
  local ok, one = pcall(cmsgpack.unpack, data or '')
  gates[name] = false
  if not data then return end
  stored[name] = {data = data}
  if not (ok and type(one) == 'table' and tonumber(one[9])) then one = {NEVER, NEVER, 1, 0, 0, 0, 0, 0, 0} end
  local gate = {
    running = one[1], rate = one[2], burst = one[3], held = one[4], reserved = one[5], waiting = one[6], level = one[7], at = one[8],
    closed = one[9], turn = one[10], wants = one[11],
  }
  gates[name], stored[name].opens, stored[name].idle = gate, opens(gate), idle(gate)
end

-- Read many gates at once.
local function ask(names)
  local unknown, asked = {}, {}
  for _, name in ipairs(names) do
    if gates[name] == nil and not asked[name] then unknown[#unknown + 1], asked[name] = name, true end
  end
  for i, data in ipairs(#unknown > 0 and values(root .. 'gates', unknown) or {}) do read(unknown[i], data) end
end

local function find_gate(name)
  if gates[name] == nil then read(name, call('HGET', root .. 'gates', name)) end
  return gates[name]
end

local function gate_of(use, now)
  local gate = find_gate(use.name)
  local first = not met[use.name]
  met[use.name] = true
  if not gate or first and is_idle(gate, now) then -- or whether it is begun anew depended on the order of a batch
    gate = {
      running = use.running, rate = use.rate, burst = use.burst, held = 0, reserved = 0, waiting = 0, level = use.burst, at = now, closed = 0,
    }
    gates[use.name] = gate
  end
  refill(gate, now)
  return gate
end

local function key_of(job, name, gate)
  local use = use_at(job, name)
  if not use.ordered then return score(job.priority, job.run_at) end
  return score(gate.turn == text(job.id) and 10 or 9, job.run_at)
end

local function behind(a, b) return a.key > b.key or a.key == b.key and a.job.id > b.job.id end

-- Who stands first at a gate of those that stood there before, and its key.
local function first_stored(name, gate)
  if heads[name] == nil then
    heads[name] = false
    while gate.waiting > (fresh[name] and #fresh[name] or 0) do
      local id, key = unpack(call('ZRANGE', root .. 'gate:' .. name, 0, 0, 'WITHSCORES'))
      if not id then -- somebody else deleted them
        gate.waiting = fresh[name] and #fresh[name] or 0
        break
      end
      local job = standers[id] or load(id)
      if job and not job.uses then job.uses = uses_of(asked_of(id)) end
      if job and job.uses then
        standers[id], job.at, job.stored = job, name, true
        heads[name] = {job = job, key = tonumber(key)}
        break
      end
      call('ZREM', root .. 'gate:' .. name, id)
      gate.waiting = gate.waiting - 1
    end
  end
  return heads[name]
end

-- Who stands first at a gate, and its key.
local function first(name, gate)
  local old, line = first_stored(name, gate), fresh[name]
  if not line or #line == 0 then return old end
  if not line.sorted then
    table.sort(line, behind)
    line.sorted = true
  end
  local new = line[#line]
  return old and behind(new, old) and old or new
end

local function stand(job, name, gate)
  local line = fresh[name] or {}
  line[#line + 1], line.sorted = {job = job, key = tonumber(key_of(job, name, gate))}, #line == 0
  job.at, gate.waiting, fresh[name], touched[name] = name, gate.waiting + 1, line, true
end

-- A job leaves the gate where it stands.
local function go(job)
  local name = job.at
  local gate, line = find_gate(name), fresh[name]
  local here
  for i = line and #line or 0, 1, -1 do
    if line[i].job == job then
      here = i
      break
    end
  end
  if here then
    table.remove(line, here)
  else
    call('ZREM', root .. 'gate:' .. name, job.id)
    heads[name] = nil
  end
  if gate then gate.waiting = gate.waiting - 1 end
  job.at, touched[name] = nil, true
end

-- The members of `passed` that a job has.
local function passes(job, found)
  for _, use in ipairs(job.uses) do found[#found + 1] = use.name .. BETWEEN .. job.id end
end

-- A new job says what its gates admit from now on.
local function define(job, now)
  for _, use in ipairs(job.uses) do
    local gate = gate_of(use, now)
    gate.running, gate.rate, gate.burst = use.running, use.rate, use.burst
    gate.level = gate.rate == NEVER and gate.burst or math.min(gate.level, gate.burst)
  end
end

local function arrive(job, now)
  local use = job.uses[1]
  stand(job, use.name, gate_of(use, now))
end

-- A job leaves where it stands. ends: and with it its place in a strict order.
local function leave(job, state, ends, now)
  if state == WAITING then
    job.at = job.at or call('HGET', root .. 'stands', job.id) or nil
    if job.at then
      go(job)
      call('HDEL', root .. 'stands', job.id)
    end
  elseif state == READY then
    local gone = {}
    passes(job, gone)
    call('ZREM', root .. 'passed', unpack(gone))
  end
  for _, use in ipairs(job.uses) do
    if state == READY or state == RUNNING then
      local gate = gate_of(use, now)
      gate.held = math.max(0, gate.held - use.units) -- less only if somebody else wrote here
      if use.rate < NEVER and state == READY then gate.reserved = math.max(0, gate.reserved - use.units) end
      touched[use.name] = true
    end
    local gate = ends and use.ordered and find_gate(use.name)
    if gate and gate.turn == text(job.id) then
      gate.turn, touched[use.name] = nil, true
    end
  end
end

-- Jobs that passed start.
local function start(jobs, now)
  local names, gone = {}, {}
  for _, job in ipairs(jobs) do
    passes(job, gone)
    for _, use in ipairs(job.uses) do if use.rate < NEVER then names[#names + 1] = use.name end end
  end
  ask(names)
  each('ZREM', root .. 'passed', gone)
  for _, job in ipairs(jobs) do
    for _, use in ipairs(job.uses) do
      if use.rate < NEVER then
        local gate = gate_of(use, now)
        gate.reserved, gate.level = math.max(0, gate.reserved - use.units), gate.level - use.units
      end
    end
  end
end

-- Who passed a gate and has not started.
local function passed_by(name)
  local found = {}
  for _, member in ipairs(call('ZRANGEBYLEX', root .. 'passed', '[' .. name .. BETWEEN, '(' .. name .. char(byte(BETWEEN) + 1))) do
    if #member == #name + 17 then found[#found + 1] = sub(member, -16) end
  end
  return found
end

-- What a run says at its end: of each limit the units used (or nil), and the seconds of a pause. Answers who has to go back.
local function meter(uses, meters, now)
  local back = {}
  for _, said in ipairs(meters) do
    for _, use in ipairs(uses) do
      if use.limit == said.limit then
        local gate = gate_of(use, now)
        if said.used and use.rate < NEVER then
          gate.level = math.min(gate.burst, gate.level + use.units - math.max(0, said.used))
        end
        if said.pause and said.pause > 0 then
          gate.closed = math.max(gate.closed, now + said.pause)
          for _, id in ipairs(passed_by(use.name)) do back[#back + 1] = id end
        end
        touched[use.name] = true
      end
    end
  end
  return back
end

-- Nobody of this queue passes, or everybody again. Answers whoever passed and has not started: those of the queue have to go back.
local function pause(queue, paused, now)
  local name = BETWEEN .. queue
  gate_of({name = name, running = NEVER, rate = NEVER, burst = 1}, now).closed = paused and NEVER or 0
  touched[name] = true
  local found = {}
  for _, member in ipairs(paused and call('ZRANGE', root .. 'passed', 0, -1) or {}) do found[#found + 1] = sub(member, -16) end
  return found
end

-- The first gate that does not let a job pass, of all but one.
local function refusing(job, admitting, now)
  local name = BETWEEN .. (job.next_queue or job.queue)
  local gate = find_gate(name)
  if gate and now < gate.closed then return name, gate end
  for _, use in ipairs(job.uses) do
    if use.name ~= admitting then
      gate = gate_of(use, now)
      local head, mine = first(use.name, gate), tonumber(key_of(job, use.name, gate))
      local behind = head and (head.key < mine or head.key == mine and head.job.id < job.id)
      if behind or not admits(gate, use, job, now) then return use.name, gate end
    end
  end
end

local function pass(name, now, passed)
  local gate = find_gate(name)
  if not gate then return end
  refill(gate, now)
  gate.wants = nil
  local head = first(name, gate)
  while head do
    local job = head.job
    local use = use_at(job, name)
    if not admits(gate, use, job, now) then
      if has_room(gate, use) and has_turn(gate, use, job) then gate.wants = math.min(use.units, gate.burst) end
      return
    end
    go(job)
    if use.ordered then gate.turn = text(job.id) end
    local other, refuses = refusing(job, name, now)
    if other then
      stand(job, other, refuses)
    else
      local members, added = {}, {}
      if job.stored then call('HDEL', root .. 'stands', job.id) end
      passes(job, members)
      for i, member in ipairs(members) do added[i * 2 - 1], added[i * 2] = 0, member end
      call('ZADD', root .. 'passed', unpack(added))
      for _, one in ipairs(job.uses) do
        local entered = gate_of(one, now)
        entered.held = entered.held + one.units
        if one.rate < NEVER then entered.reserved = entered.reserved + one.units end
      end
      passed[#passed + 1] = job
    end
    head = first(name, gate)
  end
end

local function forget(names, now)
  ask(names)
  for _, name in ipairs(names) do
    if gates[name] and is_idle(gates[name], now) then gates[name] = false end
  end
end

-- Let pass whoever may, at the gates where something has changed; answers them.
local function pass_on(now)
  local passed, names = {}, {}
  while next(touched) do
    local some = {}
    for name in pairs(touched) do some[#some + 1] = name end
    table.sort(some)
    touched = {}
    for _, name in ipairs(some) do
      pass(name, now, passed)
      names[#names + 1] = name
    end
  end
  forget(names, now)
  return passed
end

-- When a gate is to be looked at, in a list of such times.
local function timed(list, name, before, after)
  if before == after or (after == NEVER and not before) then return end
  if not after or after == NEVER then return call('ZREM', root .. list, name) end
  call('ZADD', root .. list, string.format('%.17g', after), name)
  if list == 'opening' and call('ZRANGE', root .. list, 0, 0)[1] == name then wake('\0due', MANY) end
end

local function save()
  local changed, gone, unheard, stands = {}, {}, {}, {}
  for name, line in pairs(fresh) do
    local members = {}
    for i, one in ipairs(line) do
      members[i * 2 - 1], members[i * 2] = string.format('%.0f', one.key), one.job.id
      stands[#stands + 1], stands[#stands + 2] = one.job.id, name
    end
    each('ZADD', root .. 'gate:' .. name, members)
  end
  each('HSET', root .. 'stands', stands)
  for name, gate in pairs(gates) do
    local old = stored[name] or {}
    if gate then
      local data = '\155' .. cmsgpack.pack(
        gate.running, gate.rate, gate.burst, gate.held, gate.reserved, gate.waiting, gate.level, gate.at, gate.closed, gate.turn, gate.wants
      )
      if data ~= old.data then
        changed[#changed + 1], changed[#changed + 2] = name, data
        if not old.data then unheard[#unheard + 1], unheard[#unheard + 2] = 0, name end
        timed('opening', name, old.opens, opens(gate))
        timed('idling', name, old.idle, idle(gate))
      end
    elseif old.data then
      gone[#gone + 1] = name
      timed('opening', name, old.opens, nil)
      timed('idling', name, old.idle, nil)
    end
  end
  each('HSET', root .. 'gates', changed)
  each('ZADD', root .. 'gate_names', unheard)
  each('HDEL', root .. 'gates', gone)
  each('ZREM', root .. 'gate_names', gone)
end

return {
  uses_of = uses_of, uses_in = uses_in, ask = ask, define = define, arrive = arrive, leave = leave, start = start, meter = meter, pause = pause, forget = forget,
  touch = function(name) touched[name] = true end, pass_on = pass_on, save = save,
}
