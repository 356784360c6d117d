-- For wrk: announces of peers that are all different, to the swarms of a file of info hashes; each closes its connection.
--   wrk -s announce.lua http://HOST:PORT -- FILE
-- At the end one line: GOOD answers, BAD answers, microseconds.

local targets = {}
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  for line in io.lines(arguments[1]) do
    targets[#targets + 1] = "/announce?compact=1&numwant=50&uploaded=0&downloaded=0&info_hash=" .. line:gsub("%x%x", "%%%0")
  end
  good, bad, count = 0, 0, 0
end

function request()
  count = count + 1
  local peer = string.format("&peer_id=-BN0000-%02d%010d&port=%d&left=%d", number, count, 1024 + count % 60000, count % 3)
  return wrk.format("GET", targets[1 + count % #targets] .. peer, { Connection = "close" })
end

function response(status, headers, body)
  -- A failure is a dictionary as well, and its first key is this one.
  if status == 200 and body:sub(1, 1) == "d" and not body:find("^d14:failure reason") then
    good = good + 1
  else
    bad = bad + 1
  end
end

function done(summary)
  local all, wrong = 0, 0
  for _, thread in ipairs(threads) do
    all, wrong = all + thread:get("good"), wrong + thread:get("bad")
  end
  print(string.format("answers %d %d %d", all, wrong, summary.duration))
end
