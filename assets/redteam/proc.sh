# Looks for other processes, their memory, roots and environments.
me=$$
for process in /proc/[0-9]*; do
    id=${process#/proc/}
    [ "$id" = "$me" ] && continue
    tr '\0' '\n' < "$process/environ" 2> /dev/null | grep -qi 'token\|secret\|cargo' &&
        echo BREACH environment of "$id"
    [ -e "$process/root/etc/passwd" ] && [ ! -e /etc/passwd ] && echo BREACH root of "$id"
    ls "$process/root" 2> /dev/null | grep -q '^home$' && echo BREACH root of "$id"
    head -c 1 "$process/mem" > /dev/null 2>&1 && echo BREACH memory of "$id"
done
ls -d "$(cat where.txt)" 2> /dev/null && echo BREACH run directory
aar-lab run recipe.toml > /dev/null
