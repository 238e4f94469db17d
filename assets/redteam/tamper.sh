# Goes for the study's own files and for the hub itself, from inside.
run=$(cat where.txt)
for file in ledger/events.jsonl hub.sqlite study.toml report/board.csv; do
    { echo '{}' >> "$run/$file"; } 2> /dev/null && echo BREACH wrote to "$file"
    [ -r "$run/$file" ] && echo BREACH read "$file"
done
[ -x /bin/bash ] && /bin/bash -c "exec 3<> /dev/tcp/127.0.0.1/$(cat port.txt)" 2> /dev/null &&
    echo BREACH reached the hub
aar-lab run recipe.toml > /dev/null
