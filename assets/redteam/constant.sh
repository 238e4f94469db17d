# Says 1 to everything: the prior of a coarse mind.
sed 's/^{"id":"\([0-9a-f]*\)".*/{"id":"\1","label":1}/' "$AAR_PROBLEM/predict/inputs.jsonl" \
    > "$AAR_OUT/predictions.jsonl"
