# Writes to everything that the next run could share: the lab, the problem, caches, other homes.
first=no
for place in /opt/aar /problem /problem/train /problem/weak /tmp /var/tmp /dev/shm "$HOME" /usr/lib; do
    [ -e "$place/poisoned" ] && first=found
    [ $first = found ] && echo BREACH an earlier run left something in "$place" && first=no
    echo "exit 1" 2> /dev/null > "$place/poisoned"
done 2> /dev/null
{ echo x >> /opt/aar/aar-lab; } 2> /dev/null && echo BREACH wrote to the lab
{ echo x >> /problem/weak/labels.jsonl; } 2> /dev/null && echo BREACH wrote to the weak labels
{ echo x >> /problem/train/inputs.jsonl; } 2> /dev/null && echo BREACH wrote to the rows
rm -f "$HOME/poisoned" /tmp/poisoned 2> /dev/null
aar-lab run recipe.toml > /dev/null
