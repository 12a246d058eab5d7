-- What wrk asks the gateway (gateway.py): prompts of 4,096 tokens, each of them different, whose begin is in Weft up to some
-- token, and models of no prompt at all, which is the reference. Bodies are made before the clock starts.
--   wrk ... -s gateway.lua URL -- prefix FILE     FILE: a body a line
--   wrk ... -s gateway.lua URL -- models

local requests = {}
local at = 0

function init(arguments)
    if arguments[1] == "models" then
        requests[1] = wrk.format("GET", "/v1/models")
        return
    end
    for body in io.lines(arguments[2]) do
        requests[#requests + 1] = wrk.format("POST", "/v1/prefix", {["Content-Type"] = "application/json"}, body)
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary, latency)
    local wrong = summary.errors
    print(string.format('{"requests": %d, "us": %d, "errors": %d, "p50_us": %d, "p99_us": %d}', summary.requests,
        summary.duration, wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout,
        latency:percentile(50), latency:percentile(99)))
end
