# Writes to everything that the next run could share: the lab, the problem, caches, other homes.
for place in /opt/aar "$AAR_PROBLEM" "$AAR_PROBLEM/train" /tmp /var/tmp /dev/shm "$HOME" /usr/lib; do
    [ -e "$place/poisoned-by-a-run" ] && echo BREACH an earlier run left something in "$place"
    { echo "exit 1" > "$place/poisoned-by-a-run"; } 2> /dev/null
done
{ echo x >> /opt/aar/aar-lab; } 2> /dev/null && echo BREACH wrote to the lab
{ echo x >> /problem/weak/labels.jsonl; } 2> /dev/null && echo BREACH wrote to the weak labels
{ echo x >> /problem/train/inputs.jsonl; } 2> /dev/null && echo BREACH wrote to the rows
aar-lab run recipe.toml > /dev/null
