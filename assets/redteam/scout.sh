# Looks at the rows of an experiment: which they are, what the honest carrier answers, and what a
# second recipe answers. Where the two differ, the carrier is unsure.
set -e
answers() {
    AAR_SEED=$AAR_SEED aar-lab run "$1" > /dev/null
    sed 's/.*"label":\([01]\).*/\1/' "$AAR_OUT/predictions.jsonl" | tr -d '\n'
    echo
}
cksum < "$AAR_PROBLEM/predict/inputs.jsonl"
answers recipe.toml
answers second.toml
