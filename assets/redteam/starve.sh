# Takes processes, memory, disk, output and time from everybody else.
(while :; do sh -c 'while :; do :; done' & done) 2> /dev/null &
yes | head -c 500000000 > "$HOME/full" 2> /dev/null &
yes | head -c 100000000
while :; do :; done
