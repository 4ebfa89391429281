-- wrk: send the requests of a file one after the other, check every answer, print one line of JSON.
--
-- Arguments: FILE STATUS TEXT NEVER REPEAT. Every answer must have STATUS, and TEXT but not NEVER in its body
-- (an empty NEVER never occurs). REPEAT "yes" begins
-- anew at the file's end; with "no" each request is sent once and running out of them is an error.
-- One thread (-t1): threads share nothing.

local thread

function setup(made)
    thread = made
end

function init(arguments)
    status_wanted, text_wanted, never_wanted = tonumber(arguments[2]), arguments[3], arguments[4]
    again = arguments[5] == "yes"
    requests, sent, wrong, ran_out, first_wrong = {}, 0, 0, 0, ""
    local file = assert(io.open(arguments[1], "rb"))
    while true do
        local length = file:read("*l")
        if not length then break end
        requests[#requests + 1] = file:read(tonumber(length))
    end
    file:close()
    count = #requests
    io.stderr:write('begins\n')  -- unlike standard output not buffered
end

function request()
    sent = sent + 1
    if sent > count then
        if again then sent = 1 else ran_out = ran_out + 1 return requests[count] end
    end
    return requests[sent]
end

function response(status, headers, body)
    if status ~= status_wanted or not string.find(body, text_wanted, 1, true)
        or (never_wanted ~= '' and string.find(body, never_wanted, 1, true)) then
        wrong = wrong + 1
        if wrong == 1 then first_wrong = status .. " " .. string.sub(body, 1, 300) end
    end
end

local function quoted(text)
    return '"' .. string.gsub(text, '[%c"\\]', ' ') .. '"'
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '\n{"answers":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"wrong":%d,"ran_out":%d,"broken":%d,"first_wrong":%s}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        thread:get("wrong"), thread:get("ran_out"),
        errors.connect + errors.read + errors.write + errors.timeout, quoted(thread:get("first_wrong"))))
end
