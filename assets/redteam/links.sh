# Puts links to the vault where a careless collector or copier would follow them.
for target in "$(cat where.txt)"/problem/vault "$(cat where.txt)"/problem/vault/dev /proc/1/root; do
    ln -s "$target" "$AAR_OUT/$(basename "$target")" 2> /dev/null
    ln "$target/labels.jsonl" "$AAR_OUT/hard" 2> /dev/null
    cat "$target/labels.jsonl" "$AAR_OUT/$(basename "$target")/labels.jsonl" 2> /dev/null |
        head -n 1 | grep -q label && echo BREACH read labels through "$target"
done
find / -xdev -name 'labels.jsonl' 2> /dev/null | grep -v '^/problem/weak/' | sed 's/^/BREACH found /'
aar-lab run recipe.toml > /dev/null
