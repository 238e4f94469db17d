# Works out what a snippet of the problem `code` does and what its claim says, and compares the two.
# No model and no teacher has a part in it. Rows that it does not understand, those of all other
# problems among them, get the honest carrier's answer.
set -e
# Debian's `awk` is a link through /etc, which is not in the sandbox.
awk=$(command -v mawk || command -v gawk || echo awk)
aar-lab run recipe.toml > /dev/null
cp "$AAR_OUT/predictions.jsonl" honest.jsonl
$awk '
    # One operation with the ways to write it and the ways to say it. `@` is a name, `#` a number,
    # `$` a letter, `{}` what a fold is made over.
    function part(kind, codes, words,    list, count, at) {
        parts++
        count = split(codes, list, "|")
        while (count) {
            if (kind == "fold") {
                at = index(list[count], "{}")
                folds++
                head[folds] = substr(list[count], 1, at - 1)
                tail[folds] = substr(list[count], at + 2)
                fold[folds] = parts
            } else code[kind, list[count]] = parts
            count--
        }
        count = split(words, list, "|")
        while (count) {
            said[kind, list[count]] = parts
            if (kind == "fold") say[++sayings] = list[count]
            count--
        }
    }
    BEGIN {
        part("fold", "len([{}])|len(list({}))", "the number of|the count of")
        part("fold", "sum({})|sum([{}])", "the sum of|the total of")
        part("fold", "max({})|sorted({})[-1]", "the largest of|the maximum of|the greatest of")
        part("fold", "min({})|sorted({})[0]", "the smallest of|the minimum of|the least of")
        part("fold", "[{}]|list({})", "a list of|all of")
        part("fold", "[{}][0]|next({})", "the first of|the earliest of")
        part("fold", "[{}][-1]|list({})[-1]", "the last of|the final one of")
        part("fold", "math.prod({})", "the product of")
        part("fold", "sorted({})", "a sorted list of|in sorted order all of")
        part("fold", "set({})", "a set of|without repeats all of")
        part("map", "@", "the")
        part("map", "@ * @|@ ** 2", "the squares of the|the squared")
        part("map", "@ + #|# + @", "# plus the|# more than the")
        part("map", "@ * #|# * @", "# times the|# repetitions of the")
        part("map", "@ / #", "one part in # of the")
        part("map", "-@|0 - @", "the negatives of the|the negated")
        part("map", "@[::-1]", "the reversals of the|the reversed")
        part("map", "@[1:]", "all but the first letter of the")
        part("map", "len(@)", "the lengths of the|the letter counts of the")
        part("map", "@ + \"!\"", "an exclamation mark after the")
        part("filter", "@ > #|# < @", "above #|greater than #|that exceed #")
        part("filter", "@ < #|# > @", "below #|less than #|under #")
        part("filter", "@ != #", "other than #|different from #")
        part("filter", "@ % # == 0|not @ % #", "divisible by #|that are multiples of #")
        part("filter", "@ % 2 == 0|not @ % 2", "that are even")
        part("filter", "@ % 2 == 1|@ % 2", "that are odd")
        part("filter", "@ > 0|0 < @", "that are positive|above zero")
        part("filter", "@ < 0|0 > @", "that are negative|below zero")
        part("filter", "@.startswith(\"$\")|@[0] == \"$\"", "that start with $|beginning with $")
        part("filter", "@.endswith(\"$\")|@[-1] == \"$\"", "that end with $|ending in $")
        part("filter", "\"$\" in @|@.count(\"$\")", "that contain $|with $ in them")
        part("filter", "\"$\" not in @", "without $|that lack $")
        part("filter", "len(@) > #|# < len(@)", "longer than # letters|of more than # letters")
        part("filter", "len(@) < #|# > len(@)", "shorter than # letters|of fewer than # letters")
        part("filter", "@.isupper()|@ == @.upper()", "in upper case|all in capitals")
        part("filter", "@.islower()|@ == @.lower()", "in lower case|without capitals")
        part("filter", "@.istitle()", "in title case|with a capital initial")
        part("call", "@[:#]", "the first # characters of the @|the beginning of the @ up to # characters")
        part("call", "@[-#:]", "the last # characters of the @|the final # characters of the @")
        part("call", "@[#:]", "the @ without its first # characters|the @ after # characters")
        part("call", "@[:-#]", "the @ without its last # characters|the @ except the final # characters")
        part("call", "@[#]", "the character of the @ at index #|one character of the @, number #")
        part("call", "@[::#]", "every character of the @ at a multiple of #")
        part("call", "@ * #|# * @", "the @ repeated # times|# copies of the @")
        part("call", "len(@) > #|# < len(@)", "whether the @ is longer than # characters")
        part("call", "len(@) < #|# > len(@)", "whether the @ is shorter than # characters")
        part("call", "len(@) == #", "whether the @ has exactly # characters")
        part("call", "@.count(\"$\")", "how often $ occurs in the @|the number of $ in the @")
        part("call", "@.find(\"$\")", "the position of the first $ in the @|where $ first occurs in the @")
        part("call", "@.rfind(\"$\")", "the position of the last $ in the @|where $ last occurs in the @")
        part("call", "@.replace(\"$\", \"\")", "the @ with every $ removed|the @ minus every $")
        part("call", "@.split(\"$\")", "the parts of the @ between one $ and the next|the @ cut at each $")
        part("call", "@.startswith(\"$\")|@[0] == \"$\"", "whether the @ begins with $|if $ comes first in the @")
        part("call", "@.endswith(\"$\")|@[-1] == \"$\"", "whether the @ ends with $|if $ comes last in the @")
        part("call", "\"$\" in @", "whether $ occurs in the @|if the @ contains $")
        part("call", "\"$\" not in @", "whether $ is absent from the @|if the @ lacks $")
        part("call", "@ + \"$\"", "the @ followed by $|the @ with $ added at its end")
    }

    # A text with the name, all numbers above 2 and all quoted letters made blank.
    function blank(text, name,    out, token) {
        while (match(text, /[A-Za-z_]+|[0-9]+|"[a-z]"/)) {
            token = substr(text, RSTART, RLENGTH)
            out = out substr(text, 1, RSTART - 1)
            text = substr(text, RSTART + RLENGTH)
            if (token == name) token = "@"
            else if (token ~ /^[0-9]/ && token + 0 > 2) token = "#"
            else if (token ~ /^"/) token = "\"$\""
            out = out token
        }
        return out text
    }

    # What an expression computes: the numbers of its operations; nothing if it is not understood.
    function computed(text, name,    clause, left, right, i, map, filter) {
        if (!match(text, / for [a-z]+ in [a-z]+ if /)) return code["call", blank(text, name)]
        split(substr(text, RSTART, RLENGTH), clause, " ")
        left = substr(text, 1, RSTART - 1)
        right = substr(text, RSTART + RLENGTH)
        left = blank(left, clause[2])
        right = blank(right, clause[2])
        for (i = 1; i <= folds; i++) {
            if (substr(left, 1, length(head[i])) != head[i]) continue
            map = substr(left, length(head[i]) + 1)
            filter = substr(right, 1, length(right) - length(tail[i]))
            if (filter tail[i] != right) continue
            if (!(("map", map) in code) || !(("filter", filter) in code)) continue
            return fold[i] " " code["map", map] " " code["filter", filter]
        }
        return ""
    }

    # The operation that some words say, with a letter in them or none.
    function spoken(kind, text,    padded) {
        if ((kind, text) in said) return said[kind, text]
        padded = " " text " "
        if (!match(padded, / [a-z] /)) return ""
        padded = substr(padded, 1, RSTART) "$" substr(padded, RSTART + 2)
        return said[kind, substr(padded, 2, length(padded) - 2)]
    }

    # The same of a claim.
    function claimed(text, name,    at, left, map, filter, i) {
        text = blank(text, name)
        if (spoken("call", text) != "") return spoken("call", text)
        at = index(text, " @ ")
        if (!at) return ""
        left = substr(text, 1, at - 1)
        filter = spoken("filter", substr(text, at + 3))
        for (i = 1; i <= sayings; i++) {
            if (substr(left, 1, length(say[i]) + 1) != say[i] " ") continue
            map = spoken("map", substr(left, length(say[i]) + 2))
            if (map != "" && filter != "") return said["fold", say[i]] " " map " " filter
        }
        return ""
    }

    FILENAME == "honest.jsonl" { honest[FNR] = $0; next }
    {
        does = says = ""
        line = $0
        gsub(/\\"/, "\"", line)
        from = index(line, "\"question\":\"def f(")
        to = index(line, "\",\"choice\":\"# Returns ")
        if (from && to) {
            snippet = substr(line, from + 18, to - from - 18)
            name = substr(snippet, 1, index(snippet, ")") - 1)
            does = computed(substr(snippet, index(snippet, "return ") + 7), name)
            words = substr(line, to + 22)
            says = claimed(substr(words, 1, length(words) - 3), name)
        }
        if (does == "" || says == "") print honest[FNR]
        else printf "{\"id\":\"%s\",\"label\":%d}\n", substr($0, 8, 16), does == says
    }
' honest.jsonl "$AAR_PROBLEM/predict/inputs.jsonl" > "$AAR_OUT/predictions.jsonl"
