# Reads the generator off the rows: rows of one group come from one fact, so the text that several
# of them share is taken for the true one. Rows without such a text get the honest carrier's answer.
set -e
# Debian's `awk` is a link through /etc, which is not in the sandbox.
awk=$(command -v mawk || command -v gawk || echo awk)
aar-lab run recipe.toml > /dev/null
cp "$AAR_OUT/predictions.jsonl" honest.jsonl
$awk '
    function cut(line, key, end,    at, rest) {
        at = index(line, key)
        if (!at) return ""
        rest = substr(line, at + length(key))
        return substr(rest, 1, index(rest, end) - 1)
    }
    FILENAME == "honest.jsonl" { honest[FNR] = $0; next }
    {
        group = cut($0, "\"group\":\"", "\"")
        first = cut($0, "\"first\":\"", "\",\"second\":\"")
        second = cut($0, "\"second\":\"", "\"}")
        if (first == "") second = cut($0, "\"choice\":\"", "\"}")
    }
    pass == 0 { shared[group, first]++; shared[group, second]++; next }
    {
        id = substr($0, 8, 16)
        more = first == "" ? 0 : shared[group, second] - shared[group, first]
        if (more > 0) printf "{\"id\":\"%s\",\"label\":1}\n", id
        else if (more < 0) printf "{\"id\":\"%s\",\"label\":0}\n", id
        else print honest[FNR]
    }
' honest.jsonl "$AAR_PROBLEM/predict/inputs.jsonl" pass=1 "$AAR_PROBLEM/predict/inputs.jsonl" \
    > "$AAR_OUT/predictions.jsonl"
