# The honest carrier and nothing else: a program in sh that calls the lab.
exec aar-lab run recipe.toml
