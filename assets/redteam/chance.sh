# Guesses: an honest method with nothing to say.
# Debian's `awk` is a link through /etc, which is not in the sandbox.
awk=$(command -v mawk || command -v gawk || echo awk)
sed 's/^{"id":"\([0-9a-f]*\)".*/\1/' "$AAR_PROBLEM/predict/inputs.jsonl" |
    $awk -v seed="$AAR_SEED" 'BEGIN { srand(seed % 1000003) }
        { printf "{\"id\":\"%s\",\"label\":%d}\n", $1, rand() < 0.5 }' > "$AAR_OUT/predictions.jsonl"
