# Read by `probe.sh` and `hidden.sh`: what a probe says of vectors. `probe.txt` holds the tensor's
# name and width, how many of its first dimensions the probe looks at, and the probe's constant;
# `weights.txt` a weight for each of those dimensions.
# Debian's `awk` is a link through /etc, which is not in the sandbox.
awk=$(command -v mawk || command -v gawk || echo awk)

# One score a row for the first $2 rows in the directory $1: above 0 is label 1.
scores() {
    read -r name width used constant options < probe.txt
    file=$1/activations.safetensors
    header=$(od -An -tu8 -N8 "$file" | tr -d ' ')
    from=$(head -c $((header + 8)) "$file" | tail -c +9 |
        sed 's/.*"'"$name"'":{[^}]*"data_offsets":\[\([0-9]*\),.*/\1/')
    # Two bytes a value.
    tail -c +$((header + 9 + from)) "$file" | head -c $((2 * width * options * $2)) |
        od -An -v -tu2 -w$((2 * width)) | $awk -v used="$used" -v constant="$constant" -v options="$options" '
        # IEEE 754 binary16: a sign, 5 bits of exponent, 10 of fraction.
        function number(bits,    sign, exponent, fraction) {
            sign = bits < 32768 ? 1 : -1
            bits %= 32768
            exponent = int(bits / 1024)
            fraction = bits % 1024
            if (exponent == 0) return sign * fraction / 16777216
            return sign * (1 + fraction / 1024) * 2 ^ (exponent - 15)
        }
        FILENAME == "weights.txt" { weight[NR] = $1; next }
        {
            sum = 0
            for (i = 1; i <= used; i++) {
                if (!($i in known)) known[$i] = number($i)
                sum += weight[i] * known[$i]
            }
            if (options == 1) print sum + constant
            else if (++vectors % 2) first = sum
            else print sum - first + constant
        }' weights.txt -
}
