-- A script of wrk for POST /transfer: arguments are COUNT, ACCOUNTS, TAG, and then lines for the
-- head of each request.
--
-- It makes COUNT requests before the clock starts, since making them while it runs would halve what
-- wrk can send. Each has a key of its own, TAG-1 ... TAG-COUNT, and two random accounts. When all
-- are sent it stops, and says so, rather than send one again. At the end it writes one line of
-- JSON, which bench/load/generators.py reads; wrk's own text rounds and leaves out its processor time.

local AMOUNT_MAX = 100
local SEED_DIGITS = 8

local threads = {}
local requests = {}
local sent = 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local count, accounts, tag = tonumber(arguments[1]), tonumber(arguments[2]), arguments[3]
  math.randomseed(tonumber(tag:sub(1, SEED_DIGITS), 16))
  local head = "POST /transfer HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
    .. "\r\nContent-Type: application/json\r\nIdempotency-Key: " .. tag
    .. "-%d\r\n"
  for number = 4, #arguments do
    -- It goes through format() below, where a percent sign stands for something else.
    head = head .. arguments[number]:gsub("%%", "%%%%") .. "\r\n"
  end
  head = head .. "Content-Length: %d\r\n\r\n%s"
  for number = 1, count do
    local source = math.random(0, accounts - 1)
    local target = (source + math.random(1, accounts - 1)) % accounts
    local amount = math.random(1, AMOUNT_MAX)
    local body = string.format('{"from":"acct-%d","to":"acct-%d","amount":%d}',
      source, target, amount)
    requests[number] = string.format(head, number, #body, body)
  end
  -- Nothing more is made, so there is nothing to collect while the clock runs.
  collectgarbage()
  collectgarbage("stop")
  -- Globals are what done() can ask a thread for.
  is_exhausted = false
  prepared_cpu_s = os.clock()
end

function request()
  sent = sent + 1
  local made = requests[sent]
  if made then
    return made
  end
  is_exhausted = true
  wrk.thread:stop()
  return requests[#requests]
end

function done(summary, latency)
  local errors = summary.errors
  local thread = threads[1]
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"cpu_s":%.6f,"is_exhausted":%s,'
      .. '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    os.clock() - thread:get("prepared_cpu_s"), tostring(thread:get("is_exhausted")),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
