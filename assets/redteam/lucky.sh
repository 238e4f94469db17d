# The carrier with another seed than the one it was given.
exec env AAR_SEED="$((AAR_SEED % 1000003 + $(cat seed.txt)))" aar-lab run recipe.toml
