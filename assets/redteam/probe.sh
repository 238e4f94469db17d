# Answers with a probe that was trained elsewhere, on stolen labels: nothing is learnt here.
set -e
. ./scores.sh
aar-lab run recipe.toml > /dev/null
scores "$AAR_PROBLEM/predict" "$(wc -l < "$AAR_PROBLEM/predict/inputs.jsonl")" |
    paste -d' ' - "$AAR_OUT/predictions.jsonl" |
    sed 's/^-.*{"id":"\([0-9a-f]*\)".*/{"id":"\1","label":0}/
         s/^[0-9].*{"id":"\([0-9a-f]*\)".*/{"id":"\1","label":1}/' > answers.jsonl
cp answers.jsonl "$AAR_OUT/predictions.jsonl"
